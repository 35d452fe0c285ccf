"""What a request to run a model orders: its Item, looked at as one from anywhere, and its options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geodl_core.catalog.api.documents import checked_item
from geodl_core.catalog.model_versions import reference
from geodl_core.domain.place.href import WEB
from geodl_core.domain.run.options import command_options, read_options
from geodl_core.domain.run.order import LEAST_PRIORITY, MOST_PRIORITY, Order
from geodl_core.domain.watch.match import MODELS
from geodl_core.errors import InputError, ItemError
from geodl_core.io.stac import item_href, parse_item
from geodl_core.service.jobs.allowed_item import allowed_item
from geodl_core.service.jobs.read_job import CATALOG_PREFIX, item_of, read_itemless_job
from geodl_core.service.routes.process_documents import OPTION_INPUTS, ORDER_INPUTS
from geodl_core.service.services import Services
from geodl_core.service.triggers.fetch import fetch_item

QUALIFIED = frozenset({"value", "mediaType", "encoding", "schema"})
NOWHERE = "/inline/item.json"
"""From where relative hrefs of an Item in a request start that does not say where it lies."""


def read_execution(services: Services, model: Mapping[str, Any], body: Any) -> Order:
    """Return what a request to run a model orders.

    Args:
        services: catalog, ledger and folders.
        model: Item of the registered model.
        body: `execute` of OGC API – Processes.

    Raises:
        InputError: no such inputs, a value outside its domain, or something that this server does not do.
        ItemError: the Item is none, is not there, or names what it may not.
        StoreError: the server that has the Item does not answer.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("inputs"), Mapping):
        raise InputError("body: expected an object with inputs, found none")
    if "subscriber" in body:
        raise InputError("subscriber: expected none", hint="geodl webhook add tells of the ends of runs")
    _check_outputs(body.get("outputs"))
    given = {str(name): _plain(value) for name, value in body["inputs"].items()}
    if "item" not in given:
        raise InputError("inputs: expected item, found none")
    options = {name: value for name, value in given.items() if name in OPTION_INPUTS}
    options["arguments"] = {
        name: value for name, value in given.items() if name not in OPTION_INPUTS and name not in ORDER_INPUTS
    }
    order = Order(
        item=read_asked_item(services, given["item"]),
        model=reference(model),
        options=read_options(options, "inputs"),
        collection=_collection(given.get("output_collection")),
        priority=_priority(given.get("priority", 0)),
    )
    # By its reference, and with all that can be said of the options before anybody looks at the scene.
    read_itemless_job(order.model, command_options(order.options), (Path(), services.ledger.location))
    return order


def read_asked_item(services: Services, asked: Any) -> dict[str, Any]:
    """Return the Item that a request means: by value, as `{href}`, or as `{collection, id}`.

    Raises:
        ItemError: as `read_execution`.
    """
    if not isinstance(asked, Mapping):
        raise ItemError("item: expected a STAC Item, {href}, or {collection, id}, found another value")
    if asked.get("type") == "Feature":
        item = _inline(asked)
    elif isinstance(asked.get("href"), str):
        item = fetch_item(asked["href"])
    elif isinstance(asked.get("collection"), str) and isinstance(asked.get("id"), str):
        item = item_of(services.catalog, f"{CATALOG_PREFIX}{asked['collection']}/{asked['id']}")
    else:
        raise ItemError("item: expected a STAC Item, {href}, or {collection, id}, found an object of other members")
    if item.get("collection") == MODELS:
        raise ItemError("item: expected a scene, found a registered model")
    # The order keeps the Item as it is; whoever plans it looks at it once more, under the access in force there.
    allowed_item(item, services.local_roots)
    return item


def _inline(asked: Mapping[str, Any]) -> dict[str, Any]:
    collection = asked.get("collection")
    named = collection if isinstance(collection, str) else "none"
    checked = checked_item({**asked, "collection": named}, named)
    if collection is None:
        del checked["collection"]
    said = item_href(checked) or ""
    return parse_item(checked, said if said.startswith(WEB) else NOWHERE)


def _plain(value: Any) -> Any:
    """Return an input's value; objects may be wrapped, as OGC wants them to be."""
    is_wrapped = isinstance(value, Mapping) and "value" in value and set(value) <= QUALIFIED
    return value["value"] if is_wrapped else value


def _check_outputs(outputs: Any) -> None:
    if outputs is None:
        return
    if not isinstance(outputs, Mapping) or set(outputs) - {"item", "link"}:
        raise InputError("outputs: expected an object with item or link, found others")
    for name, output in outputs.items():
        if isinstance(output, Mapping) and output.get("transmissionMode", "value") != "value":
            raise InputError(f"outputs.{name}.transmissionMode: expected value", hint="the output link is a reference")


def _collection(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or "/" in value or not value.isprintable():
        raise InputError("inputs: output_collection: expected the id of a Collection")
    return value


def _priority(value: Any) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not LEAST_PRIORITY <= value <= MOST_PRIORITY:
        raise InputError(f"inputs: priority: expected a whole number from {LEAST_PRIORITY} to {MOST_PRIORITY}")
    return int(value)

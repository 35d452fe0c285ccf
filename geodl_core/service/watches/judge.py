"""What the watches that an Item matches order, and what they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.place.href import scrub
from geodl_core.domain.watch.loops import Lineage, Lookup, find_loop, trace
from geodl_core.domain.watch.orders import orders_of
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import GeodlError, ModelError, UnavailableError
from geodl_core.io.stac import item_href, parse_item
from geodl_core.service.ledger.runs import ReadyOrder, ready_orders
from geodl_core.service.server.services import Services
from geodl_core.service.watches.known import LOG, Known, model_of_watch
from geodl_core.service.watches.remarks import Remark


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be written down about an Item."""

    orders: tuple[ReadyOrder, ...] = ()
    remarks: tuple[Remark, ...] = ()


def judge(services: Services, known: Known, item: Mapping[str, Any], watches: Sequence[Watch]) -> Judged:
    """Return the orders of watches for an Item that they match.

    What is wrong with the Item or a watch's model becomes a remark, and stops nothing else.

    Args:
        services: for the catalog, where models and ancestors are.
        known: remembers models.
        item: as the catalog has it.
        watches: that it matches.

    Raises:
        UnavailableError: the catalog does not answer now: nothing may be passed over for that.
    """
    if not watches:
        return Judged()
    name = f"{item.get('collection')}/{item.get('id')}"
    try:
        whole = _with_absolute_hrefs(dict(item))
        lineage = trace(item, lookup_in(services))
        found = [_of_watch(services, known, watch, (whole, lineage)) for watch in watches]
    except UnavailableError:
        raise
    # An Item of anybody may upset any library: it must not stand in the way of all that come after it.
    except Exception as error:  # noqa: BLE001
        why = error.message if isinstance(error, GeodlError) else f"{type(error).__name__}: {scrub(str(error))[:200]}"
        found = [_passed_over(watch, name, why) for watch in watches]
    return Judged(
        tuple(order for one in found for order in one.orders), tuple(remark for one in found for remark in one.remarks)
    )


def lookup_in(services: Services) -> Lookup:
    """Return what finds the Items of a catalog by collection and id."""

    def lookup(collection: str, item_id: str) -> Mapping[str, Any] | None:
        stored = services.catalog.read_item(collection, item_id)
        return None if stored is None else stored.content

    return lookup


def _with_absolute_hrefs(item: dict[str, Any]) -> dict[str, Any]:
    """Return an Item whose assets can be found from anywhere.

    Raises:
        ItemError: it has none, or is no STAC Item.
    """
    assets = item.get("assets")
    hrefs = [asset["href"] for asset in assets.values()] if isinstance(assets, Mapping) else []
    if hrefs and all("://" in href or href.startswith("/") for href in hrefs):
        # Nearly all are so: to read one as STAC costs more than to match it, and is done when it is run.
        return item
    return parse_item(item, item_href(item) or f"./{item.get('id')}.json")


def _of_watch(services: Services, known: Known, watch: Watch, about: tuple[dict[str, Any], Lineage]) -> Judged:
    item, lineage = about
    name = f"{item.get('collection')}/{item.get('id')}"
    try:
        model = model_of_watch(services, known, watch.model)
    except ModelError as error:
        return _passed_over(watch, name, error.message)
    loop = find_loop(watch, model.name, lineage)
    if loop is not None:
        return _passed_over(watch, name, loop)
    return Judged(tuple(ready_orders([orders_of(watch, item, model.reference, lineage.depth)])))


def _passed_over(watch: Watch, item: str, why: str) -> Judged:
    LOG.warning("item passed over", extra={"facts": {"watch": watch.name, "item": item, "why": why}})
    return Judged(remarks=(Remark(watch.name, item, why),))

"""What the watches that an Item matches order: the same wherever watches are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.place.href import scrub
from geodl_core.domain.run.order import Order
from geodl_core.domain.watch.loops import Lineage, Lookup, find_loop, trace
from geodl_core.domain.watch.orders import orders_of
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import GeodlError, ModelError


@dataclass(frozen=True, slots=True)
class Ran:
    """A registered model, as a watch that names it gets it."""

    reference: str
    """`NAME@VERSION`."""
    name: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Why a watch passed over an Item that it matches."""

    watch: str
    item: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What watches say of an Item."""

    orders: tuple[Order, ...] = ()
    remarks: tuple[Remark, ...] = ()


ModelOf = Callable[[str], Ran]
"""Returns the model that a watch names; raises ModelError where there is none."""


def decide(item: Mapping[str, Any], watches: Sequence[Watch], lookup: Lookup, model_of: ModelOf) -> Verdict:
    """Return what watches order for an Item that they match; what is wrong with a watch's model is a remark.

    Args:
        item: as it was published.
        watches: that it matches.
        lookup: finds the Items that it was derived from.
        model_of: finds models.

    Raises:
        ItemError: it is no Item.
        UnavailableError: what is asked does not answer now.
    """
    if not watches:
        return Verdict()
    whole = _with_absolute_hrefs(dict(item))
    lineage = trace(item, lookup)
    found = [_of_watch(watch, whole, lineage, model_of) for watch in watches]
    orders = tuple(one for one in found if isinstance(one, Order))
    return Verdict(orders, tuple(one for one in found if isinstance(one, Remark)))


def shown_name(item: Mapping[str, Any]) -> str:
    """Return COLLECTION/ID."""
    return f"{item.get('collection')}/{item.get('id')}"


def fault_text(error: Exception) -> str:
    """Return what an Item failed of, in a line: an Item of anybody may upset any library."""
    if isinstance(error, GeodlError):
        return error.message
    return f"{type(error).__name__}: {scrub(str(error))[:200]}"


def _of_watch(watch: Watch, item: Mapping[str, Any], lineage: Lineage, model_of: ModelOf) -> Order | Remark:
    try:
        model = model_of(watch.model)
    except ModelError as error:
        return Remark(watch.name, shown_name(item), error.message)
    loop = find_loop(watch, model.name, lineage)
    if loop is not None:
        return Remark(watch.name, shown_name(item), loop)
    return orders_of(watch, item, model.reference, lineage.depth)


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
    from geodl_core.io.stac import item_href, parse_item  # noqa: PLC0415  # 0.2 s, for such Items alone

    return parse_item(item, item_href(item) or f"./{item.get('id')}.json")

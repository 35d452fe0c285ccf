"""What the watches that an Item of the catalog matches order, and what they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from geodl_core.domain.watch.loops import Lookup
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import UnavailableError
from geodl_core.service.ledger.runs import ReadyOrder, ready_orders
from geodl_core.service.services import Services
from geodl_core.service.watches.known import LOG, Known, model_of_watch
from geodl_core.service.watches.verdict import Remark, Verdict, decide, fault_text, shown_name


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
    try:
        verdict = decide(item, watches, lookup_in(services), partial(model_of_watch, services, known))
        ready = ready_orders(verdict.orders)
    except UnavailableError:
        raise
    # An Item of anybody may upset any library: it must not stand in the way of all that come after it.
    except Exception as error:  # noqa: BLE001
        why = fault_text(error)
        verdict, ready = Verdict(remarks=tuple(Remark(watch.name, shown_name(item), why) for watch in watches)), []
    for remark in verdict.remarks:
        facts = {"watch": remark.watch, "item": remark.item, "why": remark.text}
        LOG.warning("item passed over", extra={"facts": facts})
    return Judged(tuple(ready), verdict.remarks)


def lookup_in(services: Services) -> Lookup:
    """Return what finds the Items of a catalog by collection and id."""

    def lookup(collection: str, item_id: str) -> Mapping[str, Any] | None:
        stored = services.catalog.read_item(collection, item_id)
        return None if stored is None else stored.content

    return lookup

"""Orders for Items that are in the catalog already: those that arrived unseen, and those a watch is applied to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import shapely
import sqlalchemy as sa

from geodl_core.catalog.times import instant_us, rfc3339
from geodl_core.domain.area.area import Area, area_shape
from geodl_core.domain.query import ItemPage, ItemQuery
from geodl_core.domain.watch.match import match_item
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import QueryError
from geodl_core.service.ledger.cursors import read_cursor, set_cursor
from geodl_core.service.ledger.runs import place_ready
from geodl_core.service.ledger.tables import RUNS
from geodl_core.service.ledger.watches import read_stored_watch
from geodl_core.service.services import Services
from geodl_core.service.watches.dispatch import is_new_to, place
from geodl_core.service.watches.judge import Judged, judge
from geodl_core.service.watches.known import Known, refresh
from geodl_core.service.watches.remarks import write_remarks

CURSOR = "reconcile"
"""When the last whole scan began, milliseconds since 1970."""
OVERLAP = timedelta(days=10)
"""How far a scan reaches back behind the one before: catalogs are late."""
STAMPS = ("updated", "created")
PAGE = 500
"""Of Items."""


class Searched(Protocol):
    """A catalog that is searched."""

    def search(self, query: ItemQuery) -> ItemPage:
        """Return a page of Items."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What a watch makes of an Item that is there already."""

    item: str
    """`COLLECTION/ID`."""
    run_id: str | None
    """None where none is ordered."""
    is_new: bool
    """False where it was ordered before."""
    why_not: str = ""


def reconcile_once(services: Services, known: Known, limit: int = 500) -> int:
    """Look at a page of the Items that arrived lately, by whatever way, and order their runs.

    Other programs may write to the same database without a line in the outbox. What counts as lately is by `updated` or
    `created`, and by `datetime` for Items that have neither: since the scan before, and ten days more. What was ordered
    already stays as it is.

    Args:
        services: catalog and ledger.
        known: remembers the place in the scan; of this scan alone.
        limit: Items a page.

    Returns:
        How many Items were looked at; 0 where a scan is over, which is when to pause.

    Raises:
        CatalogError: catalog or ledger do not answer.
    """
    refresh(services, known)
    if not known.index.watches:
        return 0
    if known.token is None:
        known.scan_began = services.now().timestamp()
        known.models.clear()
    before = read_cursor(services.ledger, CURSOR) / 1000 or known.scan_began
    since = int((before - OVERLAP.total_seconds()) * 1_000_000)
    query = ItemQuery(
        collections=_collections(known), filter=_lately(rfc3339(since)), sortby=(("id", True),), limit=limit
    )
    page = services.catalog.search(replace(query, token=known.token))
    place(services, known, [_judged(services, known, item) for item in page.items], cursor=None)
    known.token = page.next_token
    if known.token is None:
        with services.ledger.writing() as connection:
            set_cursor(connection, CURSOR, int(known.scan_began * 1000))
        return 0
    return len(page.items)


def apply_watch(services: Services, name: str, *, is_dry: bool = False) -> Iterator[Applied]:
    """Order a watch's runs for the Items that are in the catalog now, a page at a time.

    Args:
        services: catalog and ledger.
        name: of the watch; it may be paused, and of any mode.
        is_dry: only tell.

    Yields:
        Each Item that matches.

    Raises:
        InputError: there is no such watch, or it cannot be read.
    """
    known = Known()
    refresh(services, known, lambda stored: stored.watch.name == name)
    watch = read_stored_watch(services.ledger, name).watch
    for _, why in known.index.broken:
        raise QueryError(why)
    for items in candidates(services.catalog, watch, PAGE, sortby=(("id", True),)):
        yield from _apply(services, known, items, is_dry)


def candidates(
    catalog: Searched, watch: Watch, limit: int, *, sortby: tuple[tuple[str, bool], ...] = ()
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield the Items of a catalog that a watch may match, page by page; its filter is asked afterwards.

    Args:
        catalog: with the Items.
        watch: whose collections and area they have.
        limit: Items a page.
        sortby: as `ItemQuery` has it; in no order of ours where the catalog may not sort.
    """
    area = None if watch.aoi is None else shapely.geometry.mapping(area_shape(Area(watch.aoi)))
    query: ItemQuery | None = ItemQuery(collections=watch.collections, intersects=area, sortby=sortby, limit=limit)
    while query is not None:
        page = catalog.search(query)
        yield page.items
        query = replace(query, token=page.next_token) if page.next_token else None


def _apply(services: Services, known: Known, items: Sequence[Mapping[str, Any]], is_dry: bool) -> Iterator[Applied]:
    judged = [judge(services, known, item, match_item(known.index, item)) for item in items]
    remarks = [remark for one in judged for remark in one.remarks]
    ready = [order for one in judged for order in one.orders]
    if is_dry:
        query = sa.select(RUNS.c.id).where(RUNS.c.id.in_([order.run_id for order in ready]))
        with services.ledger.reading() as connection:
            there = set(connection.execute(query).scalars())
        news = [order.run_id not in there for order in ready]
    else:
        with services.ledger.writing() as connection:
            news = [one.is_new for one in place_ready(services.ledger, connection, ready, known.brakes)]
            write_remarks(services.ledger, connection, remarks)
    for remark in remarks:
        yield Applied(remark.item, None, is_new=False, why_not=remark.text)
    for order, is_new in zip(ready, news, strict=True):
        item = order.order.item
        yield Applied(f"{item.get('collection')}/{item.get('id')}", order.run_id, is_new)


def _collections(known: Known) -> tuple[str, ...]:
    """Return what watches look at; nothing in particular where one looks at everything."""
    if any(not watch.collections for watch in known.index.watches):
        return ()
    return tuple(sorted({collection for watch in known.index.watches for collection in watch.collections}))


def _lately(since: str) -> dict[str, Any]:
    """Return the CQL2 filter of Items that were made or changed since a time."""

    def later(name: str) -> dict[str, Any]:
        return {"op": ">=", "args": [{"property": name}, {"timestamp": since}]}

    lacks = [{"op": "isNull", "args": [{"property": name}]} for name in STAMPS]
    return {"op": "or", "args": [*map(later, STAMPS), {"op": "and", "args": [*lacks, later("datetime")]}]}


def _judged(services: Services, known: Known, item: Mapping[str, Any]) -> Judged:
    moment = _moment(item)
    watches = [watch for watch in match_item(known.index, item) if is_new_to(known, watch.name, moment)]
    return judge(services, known, item, watches)


def _moment(item: Mapping[str, Any]) -> float:
    """Return when an Item was made or changed last, as far as it says, in seconds since 1970."""
    properties = item.get("properties") or {}
    texts: list[Any] = [properties.get(name) for name in STAMPS]
    said: list[Any] = [text for text in texts if isinstance(text, str)] or [properties.get("datetime")]
    moments = []
    for text in said:
        try:
            moments.append(instant_us(str(text)) / 1_000_000)
        except (ValueError, OverflowError):
            continue
    return max(moments, default=0.0)

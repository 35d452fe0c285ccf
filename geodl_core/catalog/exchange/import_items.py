"""An import: Collections and Items of files into a catalog, in batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pydantic_core import to_json

from geodl_core.catalog.api.documents import checked_collection, checked_item
from geodl_core.catalog.exchange.entries import Entry, problem
from geodl_core.catalog.exchange.extents import Extent, minimal_collection, widened
from geodl_core.domain.query import ItemPage, ItemQuery
from geodl_core.errors import DataError, GeodlError, InputError, ItemError

BATCH_ITEMS, BATCH_BYTES = 500, 8 * 2**20
"""Written at a time, at most."""
MOST_LISTED = 1_000
"""Problems that are kept to be listed; the rest is counted."""


class Destination(Protocol):
    """What an import needs of a catalog."""

    def get_collection(self, collection_id: str) -> dict[str, Any] | None:
        """Return a Collection, None where there is none."""
        ...

    def put_collection(self, collection: dict[str, Any]) -> None:
        """Create or replace a Collection."""
        ...

    def put_items(self, items: Sequence[dict[str, Any]]) -> None:
        """Create or replace Items."""
        ...

    def search(self, query: ItemQuery) -> ItemPage:
        """Return one page of the Items that match."""
        ...


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What may differ from one import to the next."""

    skips_existing: bool = False
    """Leave what is in the catalog as it is; else it is replaced."""
    keeps_going: bool = False
    """Go on after what cannot be imported."""
    collection_id: str | None = None
    """Of Items that name none."""


@dataclass(slots=True)
class Imported:
    """What an import has done so far. An accumulator."""

    items: int = 0
    skipped: int = 0
    collections: list[str] = field(default_factory=list)
    """Ids of those that came with the Items, and were written."""
    known: set[str] = field(default_factory=set)
    """Ids of those that are in the catalog."""
    made: dict[str, Extent] = field(default_factory=dict)
    """Ids of those that had to be made up, with the extent of their Items."""
    problems: list[str] = field(default_factory=list)
    """The first ones, each with file and line or row."""
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    """What the steps of an import share."""

    catalog: Destination
    options: ImportOptions
    advance: Callable[[int], None]
    done: Imported
    waiting: list[Entry]
    """Items that are to be written next."""


def import_items(
    entries: Iterable[Entry],
    catalog: Destination,
    options: ImportOptions,
    advance: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Write what was read into a catalog and return what was done.

    Batches are written one after the other: after an error, those before it stay written, and the same import can
    be started again. Collections that are missing are made, as wide as their Items.

    Args:
        entries: what was read.
        catalog: where it goes.
        options: see there.
        advance: called with the number of entries that were dealt with since it was called last.

    Raises:
        InputError, DataError: the first problem, unless the options say to keep going.
        CatalogError: the catalog does not answer or refuses.
    """
    job, size = _Job(catalog, options, advance, Imported(), []), 0
    for entry in _to_the_end(entries):
        try:
            found = _checked(entry, options)
        except (InputError, DataError) as err:
            _fail(job, entry.place, err)
            continue
        if found.collection is not None:
            _flush(job)
            size = 0
            _put_collection(job, found.collection)
        elif found.item is not None:
            job.waiting.append(found)
            size += len(to_json(found.item))
            if len(job.waiting) >= BATCH_ITEMS or size >= BATCH_BYTES:
                _flush(job)
                size = 0
    _flush(job)
    return job.done


def _to_the_end(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries; an error of their reader is the last one."""
    try:
        yield from entries
    except (InputError, DataError) as err:
        yield Entry(err.message, problem=err)


def _checked(entry: Entry, options: ImportOptions) -> Entry:
    """Return an entry that a catalog will take, as far as can be told without it.

    Raises:
        InputError, DataError: it will not.
    """
    if entry.problem is not None:
        raise entry.problem
    if entry.collection is not None:
        return Entry(entry.place, collection=_with_slashes(checked_collection, entry.collection))
    item = entry.item or {}
    collection_id = item.get("collection") or options.collection_id
    if not isinstance(collection_id, str):
        raise ItemError(
            f"item {str(item.get('id'))[:60]!r}: expected the id of its collection, found {collection_id!r}",
            hint="--collection names one for Items that have none",
        )
    return Entry(entry.place, item=_with_slashes(lambda document: checked_item(document, collection_id), item))


def _with_slashes(check: Callable[[Any], dict[str, Any]], document: dict[str, Any]) -> dict[str, Any]:
    """Return a checked document whose id may hold slashes: catalogs take them, only addresses of the API do not."""
    name = document.get("id")
    if not isinstance(name, str) or "/" not in name:
        return check(document)
    return {**check({**document, "id": name.replace("/", "_")}), "id": name}


def _put_collection(job: _Job, collection: dict[str, Any]) -> None:
    collection_id = str(collection["id"])
    if collection_id in job.done.collections:
        return  # told of by several files
    job.done.made.pop(collection_id, None)
    if not (job.options.skips_existing and job.catalog.get_collection(collection_id)):
        job.catalog.put_collection(collection)
        job.done.collections.append(collection_id)
    job.done.known.add(collection_id)


def _flush(job: _Job) -> None:
    """Write the Items that wait."""
    entries = _wanted(job)
    _make_collections(job, entries)
    try:
        if entries:
            job.catalog.put_items([entry.item for entry in entries if entry.item])
        job.done.items += len(entries)
    except (InputError, DataError):
        # One of them: which, shows one by one.
        for entry in entries:
            _put_one(job, entry)
    job.advance(len(job.waiting))
    job.waiting.clear()


def _put_one(job: _Job, entry: Entry) -> None:
    try:
        job.catalog.put_items([entry.item or {}])
    except (InputError, DataError) as err:
        _fail(job, entry.place, err)
    else:
        job.done.items += 1


def _wanted(job: _Job) -> list[Entry]:
    """Return the Items that are to be written, by the options without those that are there."""
    if not job.options.skips_existing or not job.waiting:
        return list(job.waiting)
    there: set[tuple[str, str]] = set()
    for collection_id in {_key(entry)[0] for entry in job.waiting}:
        ids = tuple(sorted({_key(entry)[1] for entry in job.waiting if _key(entry)[0] == collection_id}))
        query: ItemQuery | None = ItemQuery(collections=(collection_id,), ids=ids, limit=BATCH_ITEMS)
        while query is not None:
            page = job.catalog.search(query)
            there |= {(str(item.get("collection")), str(item.get("id"))) for item in page.items}
            query = replace(query, token=page.next_token) if page.next_token else None
    wanted = [entry for entry in job.waiting if _key(entry) not in there]
    job.done.skipped += len(job.waiting) - len(wanted)
    return wanted


def _make_collections(job: _Job, entries: Sequence[Entry]) -> None:
    """Make the Collections that Items name and nobody has told of, and widen those that were made before."""
    for collection_id in sorted({_key(entry)[0] for entry in entries}):
        before = job.done.made.get(collection_id)
        if before is None and (collection_id in job.done.known or job.catalog.get_collection(collection_id)):
            job.done.known.add(collection_id)
            continue
        extent = before or Extent()
        for entry in entries:
            if entry.item and _key(entry)[0] == collection_id:
                extent = widened(extent, entry.item)
        if extent != before:
            job.catalog.put_collection(minimal_collection(collection_id, extent))
            job.done.made[collection_id] = extent


def _key(entry: Entry) -> tuple[str, str]:
    item = entry.item or {}
    return str(item.get("collection")), str(item.get("id"))


def _fail(job: _Job, place: str, err: GeodlError) -> None:
    """Note a problem, or raise it with its place."""
    found = problem(place, err).problem or err
    if not job.options.keeps_going:
        raise found
    job.done.failed += 1
    if len(job.done.problems) < MOST_LISTED:
        job.done.problems.append(found.message)
    job.advance(1)

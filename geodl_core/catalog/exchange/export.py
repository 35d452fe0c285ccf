"""An export: Collections and Items of a catalog as a folder of files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geodl_core.catalog.exchange.destination import check_destination, replaced_folder
from geodl_core.catalog.exchange.source import Source, chosen_collections, compact, indented, items_of
from geodl_core.domain.naming import safe_name

Format = Literal["stac-geoparquet", "static", "ndjson"]
PARQUET, NDJSON = ".parquet", ".ndjson"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    collections: dict[str, int]
    """Id → number of its Items."""


def export_catalog(
    source: Source, target: Path, form: Format, is_forced: bool, advance: Callable[[int], None]
) -> Exported:
    """Write what a source gives to a folder, whole or not at all.

    The same Collections and Items give the same bytes, where the catalog can sort Items by their ids.

    Args:
        source: what is exported.
        target: the folder; an earlier export in it is replaced.
        form: `stac-geoparquet`: a file a Collection; `static`: a STAC catalog of JSON files; `ndjson`: a file of
            lines a Collection. The first and the last have the Collections as JSON beside.
        is_forced: whether a folder with other files in it is replaced, too.
        advance: called with the number of Items that were read since it was called last.

    Raises:
        InputError: the folder is none that may be replaced, a Collection is missing, or no table holds its Items.
        CatalogError: the catalog cannot be read.
        StoreError: the folder cannot be written.
    """
    check_destination(target, is_forced)
    write = {"stac-geoparquet": _write_parquet, "static": _write_static, "ndjson": _write_ndjson}[form]
    collections = chosen_collections(source)
    names = _names([str(one["id"]) for one in collections])
    counts = {}
    with replaced_folder(target) as folder:
        for collection, name in zip(collections, names, strict=True):
            items = _counted(items_of(source, str(collection["id"])), advance)
            counts[str(collection["id"])] = write(items, collection, folder / name)
        if form == "static":
            from geodl_core.catalog.exchange.export_static import CATALOG, write_root  # noqa: PLC0415

            write_root(zip(collections, names, strict=True), folder / CATALOG)
    return Exported(counts)


def _write_parquet(items: Iterator[dict[str, Any]], collection: dict[str, Any], place: Path) -> int:
    from geodl_core.catalog.exchange.export_parquet import write_parquet  # noqa: PLC0415  # 2 s, for this format alone

    _suffixed(place, ".json").write_bytes(indented(collection))
    return write_parquet(items, collection, _suffixed(place, PARQUET))


def _write_static(items: Iterator[dict[str, Any]], collection: dict[str, Any], place: Path) -> int:
    from geodl_core.catalog.exchange.export_static import write_static  # noqa: PLC0415  # as above

    return write_static(items, collection, place)


def _write_ndjson(items: Iterator[dict[str, Any]], collection: dict[str, Any], place: Path) -> int:
    _suffixed(place, ".json").write_bytes(indented(collection))
    count = 0
    with _suffixed(place, NDJSON).open("wb") as file:
        for item in items:
            file.write(compact(item) + b"\n")
            count += 1
    return count


def _suffixed(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)


def _names(ids: list[str]) -> list[str]:
    """Return a file name for each id, none twice, by letters of either case."""
    taken: set[str] = {"catalog", "geodl-export"}
    names = []
    for one in ids:
        name = safe_name(one)
        if name.casefold() in taken:
            name = safe_name(one + "/")
        taken.add(name.casefold())
        names.append(name)
    return names


def _counted(items: Iterator[dict[str, Any]], advance: Callable[[int], None]) -> Iterator[dict[str, Any]]:
    for item in items:
        advance(1)
        yield item

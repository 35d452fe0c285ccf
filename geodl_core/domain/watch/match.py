"""Which of many watches an Item matches: collection and area by an index first, filters last."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from geodl_core.domain.area.area import Area, area_shape
from geodl_core.domain.watch.filters import Filter, ask, read_filter
from geodl_core.domain.watch.footprint import footprint_of
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import InputError

MODELS = "models"
"""Collection whose Items match no watch that does not name it."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Watches that look at one collection, by their numbers in the index."""

    everywhere: tuple[int, ...]
    """Those without an area."""
    tree: shapely.STRtree | None
    """Of the parts of areas; None where no watch has one."""
    parts: tuple[shapely.Geometry, ...]
    """Polygons, prepared."""
    owners: tuple[int, ...]
    """Whose part it is."""


@dataclass(frozen=True, slots=True)
class WatchIndex:
    """Many watches, ready to be asked about Items."""

    watches: tuple[Watch, ...]
    filters: tuple[Filter | None, ...]
    """Of each watch."""
    shelves: Mapping[str, Shelf]
    """By collection."""
    rest: Shelf
    """Watches of any collection."""
    broken: tuple[tuple[Watch, str], ...] = ()
    """Watches that match nothing since their area or filter cannot be read, and why."""


def index_watches(watches: Iterable[Watch]) -> WatchIndex:
    """Return an index over watches. One that cannot be read stops none of the others."""
    kept: list[Watch] = []
    filters: list[Filter | None] = []
    areas: list[tuple[shapely.Geometry, ...]] = []
    broken = []
    for watch in watches:
        try:
            asked = None if watch.filter is None else read_filter(watch.filter, f"watch {watch.name}: filter")
            parts = () if watch.aoi is None else tuple(shapely.get_parts(area_shape(Area(watch.aoi))))
        except (InputError, shapely.errors.ShapelyError) as error:
            broken.append((watch, str(error)))
            continue
        kept.append(watch)
        filters.append(asked)
        areas.append(parts)
    numbers: dict[str, list[int]] = {}
    for number, watch in enumerate(kept):
        for collection in watch.collections:
            numbers.setdefault(collection, []).append(number)
    shelves = {collection: _shelf(found, kept, areas) for collection, found in numbers.items()}
    rest = [number for number, watch in enumerate(kept) if not watch.collections]
    return WatchIndex(tuple(kept), tuple(filters), shelves, _shelf(rest, kept, areas), tuple(broken))


def match_item(index: WatchIndex, item: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the watches that an Item matches, in the order of the index.

    Looked at are collection, area and filter, and whether the Item is deprecated: such a one matches nothing. An Item
    whose geometry cannot be read matches no watch with an area; one of which a filter cannot be told does not pass it.
    """
    if is_deprecated(item):
        return ()
    found: set[int] = set()
    for shelf in shelves_of(index, item.get("collection")):
        found.update(shelf.everywhere)
        if shelf.tree is not None:
            found.update(_owners_at(shelf, item))
    return tuple(index.watches[number] for number in sorted(found) if _passes(index.filters[number], item))


def shelves_of(index: WatchIndex, collection: Any) -> Sequence[Shelf]:
    """Return the watches that look at a collection."""
    own = index.shelves.get(collection) if isinstance(collection, str) else None
    rest = () if collection == MODELS else (index.rest,)
    return (*rest, own) if own is not None else rest


def is_looked_at(index: WatchIndex, collection: Any) -> bool:
    """Say whether an Item of a collection may match at all."""
    return any(shelf.everywhere or shelf.parts for shelf in shelves_of(index, collection))


def is_deprecated(item: Mapping[str, Any]) -> bool:
    """Say whether an Item was replaced by another one (STAC version extension)."""
    properties = item.get("properties")
    return isinstance(properties, Mapping) and properties.get("deprecated") is True


def meets(area: shapely.Geometry, footprint: shapely.Geometry) -> bool:
    """Say whether an area and a footprint have more in common than a border."""
    return bool(shapely.intersects(area, footprint)) and not bool(shapely.touches(area, footprint))


def _passes(asked: Filter | None, item: Mapping[str, Any]) -> bool:
    return asked is None or ask(asked, item).passed


def _owners_at(shelf: Shelf, item: Mapping[str, Any]) -> list[int]:
    assert shelf.tree is not None
    footprint = footprint_of(item).geometry
    if footprint is None:
        return []
    # The tree gives those whose boxes meet; areas are prepared, since they may have very many vertices.
    near = shelf.tree.query(footprint)
    return [shelf.owners[part] for part in near.tolist() if meets(shelf.parts[part], footprint)]


def _shelf(numbers: Sequence[int], watches: Sequence[Watch], areas: Sequence[tuple[shapely.Geometry, ...]]) -> Shelf:
    everywhere = tuple(number for number in numbers if watches[number].aoi is None)
    pairs = [(part, number) for number in numbers for part in areas[number]]
    parts = tuple(part for part, _ in pairs)
    shapely.prepare(np.array(parts, dtype=object))
    return Shelf(everywhere, shapely.STRtree(parts) if parts else None, parts, tuple(number for _, number in pairs))

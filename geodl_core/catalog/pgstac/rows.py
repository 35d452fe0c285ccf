"""STAC Items as rows of `pgstac.items` and back, without the losses of pgstac's own functions.

pgstac stores an Item without what it shares with its Collection's `item_assets`, and joins both when it is read. Its
SQL drops every null on the way, `"datetime": null` too, and takes no Item without a geometry. So the rows are made
here, as pgstac's loader makes them; where joining does not give back the very Item, the column `private` keeps it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from pydantic_core import to_json

from geodl_core.catalog.pgstac.connections import Connection
from geodl_core.catalog.pgstac.item_assets import with_shared, without_shared
from geodl_core.catalog.sqlite_rows import ItemRow
from geodl_core.catalog.times import rfc3339

TAG = "pgstac:base_item"
"""Names, in a row's content, the state of the Collection that the Item was stored against."""
WHOLE = "geodl:item"
"""In `private`, the Item itself."""
SRID = 4326
_COLUMNS = ("id", "geometry", "collection", "type", TAG)
NO_GEOMETRY = shapely.to_wkb(shapely.set_srid(shapely.GeometryCollection(), SRID), include_srid=True)
"""In place of null, which the column does not take."""


@dataclass(frozen=True, slots=True)
class Base:
    """What the Items of a Collection share."""

    tag: int | None
    """None until the Collection's `item_assets` change for the first time."""
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PgstacRow:
    """An Item ready to be stored."""

    collection_id: str
    item_id: str
    start: str
    """First moment, RFC 3339."""
    end: str
    """Last moment."""
    geometry: bytes
    """EWKB, cut at the antimeridian."""
    content: str
    private: str | None

    @property
    def key(self) -> tuple[str, str]:
        return self.collection_id, self.item_id


def pgstac_row(item: Mapping[str, Any], checked: ItemRow, base: Base) -> PgstacRow:
    """Return the row of an Item, given how an embedded catalog reads it."""
    content = {key: one for key, one in without_shared(item, base.document).items() if key not in _COLUMNS}
    geometry = NO_GEOMETRY
    if checked.geom is not None:
        plane = shapely.from_wkb(checked.geom)
        geometry = shapely.to_wkb(shapely.set_srid(plane, SRID), include_srid=True)
    if checked.geom is None or json.loads(shapely.to_geojson(plane)) != item.get("geometry"):
        content["geometry"] = item.get("geometry")
    private = None if _comes_back(item, content, base) else _text({WHOLE: item})
    text = _text(content if base.tag is None else {**content, TAG: base.tag})
    start, end = rfc3339(checked.t0), rfc3339(checked.t1)
    return PgstacRow(checked.collection_id, checked.item_id, start, end, geometry, text, private)


def read_rows(connection: Connection, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the Items of rows that begin with `search.ITEM_COLUMNS`."""
    parsed = [(row[0], row[1], json.loads(row[2]), json.loads(row[3] or "{}"), row[4]) for row in rows]
    shared = _shared(connection, {(one[0], one[2].get(TAG)) for one in parsed if WHOLE not in one[3]})
    found = []
    for collection_id, item_id, content, private, geojson in parsed:
        if WHOLE in private:
            found.append(private[WHOLE])
            continue
        base = shared[collection_id, content.pop(TAG, None)]
        geometry = content.pop("geometry") if "geometry" in content else json.loads(geojson)
        found.append(_document((collection_id, item_id), content, geometry, base))
    return found


def read_bases(connection: Connection, collection_ids: Iterable[str]) -> dict[str, Base]:
    """Return what Items of Collections share now; Collections that are not there are left out."""
    found = connection.execute(
        "SELECT c.id, b.base_item_id, b.base_item::text FROM pgstac.collections c, pgstac.current_base_item(c.id) b "
        "WHERE c.id = ANY(%s)",
        (sorted(set(collection_ids)),),
    )
    return {collection_id: Base(tag, json.loads(base)) for collection_id, tag, base in found}


def _shared(connection: Connection, keys: set[tuple[str, int | None]]) -> dict[tuple[str, int | None], Any]:
    if not keys:
        return {}
    collections, tags = zip(*keys, strict=True)
    found = connection.execute(
        "SELECT c, t, coalesce(pgstac.collection_base_item(c, t), '{}')::text "
        "FROM unnest(%s::text[], %s::int[]) AS p (c, t)",
        (list(collections), list(tags)),
    )
    return {(collection_id, tag): json.loads(base) for collection_id, tag, base in found}


def _document(key: tuple[str, str], content: dict[str, Any], geometry: Any, base: dict[str, Any]) -> dict[str, Any]:
    whole = {"type": "Feature", "id": key[1], "collection": key[0], "geometry": geometry, **content}
    whole["geometry"] = geometry
    return with_shared(whole, base)


def _comes_back(item: Mapping[str, Any], content: Mapping[str, Any], base: Base) -> bool:
    """Say whether a content and what is shared make the very Item again."""
    key = str(item["collection"]), str(item["id"])
    if not base.document.get("assets"):
        return _document(key, dict(content), item.get("geometry"), base.document) == item
    again = _document(key, json.loads(_text(content)), item.get("geometry"), base.document)
    # To Python 1 and true are equal, which are not the same where only one of them is kept.
    return json.dumps(again, sort_keys=True) == json.dumps(item, sort_keys=True)


def _text(document: Mapping[str, Any]) -> str:
    return to_json(document).decode()

"""The STAC Collection that holds a model's results, and how a newer result follows an older one."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from geodl_core.domain.query import ItemQuery
from geodl_core.domain.result.item import EXTENSIONS, STAC_VERSION, extension_url
from geodl_core.domain.result.result import DetectedScene, Result, sources_key


def build_collection(result: Result, item: Mapping[str, Any], existing: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the output Collection, its extent widened to hold the Item.

    Args:
        result: for classes and assets.
        item: the output Item.
        existing: the Collection as the catalog has it, or None.
    """
    document = dict(existing or {})
    provenance, finds_objects = result.provenance, isinstance(result, DetectedScene)
    name, key = provenance.model.name, "detections" if finds_objects else "classification"
    title = f"Objects found by {name}" if finds_objects else f"Classifications by {name}"
    about = f"Objects found in scenes by {name}" if finds_objects else f"Scenes classified by {name}"
    document.update(
        {
            "type": "Collection",
            "stac_version": STAC_VERSION,
            "stac_extensions": sorted({extension_url(EXTENSIONS[0]), *document.get("stac_extensions", ())}),
            "id": provenance.collection,
            "title": document.get("title", title),
            "description": document.get("description", f"{about} with geodl."),
            "license": document.get("license", "other"),
            "extent": _widened(item, existing),
            "links": document.get("links", []),
            "item_assets": {**document.get("item_assets", {}), key: _asset_template(item["assets"][key])},
        }
    )
    return document


def _widened(item: Mapping[str, Any], existing: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a Collection's extent with an Item in it."""
    west, south, east, north = item["bbox"]
    times = [item["properties"].get(key) for key in ("start_datetime", "datetime", "end_datetime")]
    start, end = min(filter(None, times)), max(filter(None, times))
    if existing:
        box = existing["extent"]["spatial"]["bbox"][0]
        # A box of six numbers has heights too.
        (old_west, old_south), (old_east, old_north) = box[:2], box[len(box) // 2 :][:2]
        old_start, old_end = existing["extent"]["temporal"]["interval"][0]
        if west > east or old_west > old_east:
            # A box that crosses the antimeridian and another one are held together by the whole Earth's width alone.
            west, east, old_west, old_east = -180.0, 180.0, -180.0, 180.0
        west, south = min(west, old_west), min(south, old_south)
        east, north = max(east, old_east), max(north, old_north)
        # An end that is open stays open.
        start = None if old_start is None else min(start, old_start)
        end = None if old_end is None else max(end, old_end)
    return {"spatial": {"bbox": [[west, south, east, north]]}, "temporal": {"interval": [[start, end]]}}


def _asset_template(asset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the main asset of every Item has in common: without counts, which are those of one."""
    classes = [
        {key: value for key, value in entry.items() if key not in ("count", "percentage")}
        for entry in asset["classification:classes"]
    ]
    return {**{key: asset[key] for key in ("title", "type", "roles")}, "classification:classes": classes}


def current_results_query(result: Result) -> ItemQuery:
    """Return the search for results of the same source and model that nothing has replaced yet."""
    provenance = result.provenance
    wanted = {"geodl:source": sources_key(provenance), "geodl:model": provenance.model.name, "deprecated": False}
    equal = [{"op": "=", "args": [{"property": name}, value]} for name, value in wanted.items()]
    return ItemQuery(collections=(provenance.collection,), filter={"op": "and", "args": equal})


def supersede(
    item: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]], now: datetime
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Link a new result with those that it replaces (STAC version extension).

    Returns:
        The Item with its `predecessor-version` links, and the earlier Items, deprecated and linked to it.
    """
    stamp = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    replaced = [
        {
            **old,
            "properties": {**old["properties"], "deprecated": True, "updated": stamp},
            "links": [*_without(old, "successor-version"), _version_link("successor-version", item)],
        }
        for old in earlier
    ]
    links = [*item["links"], *(_version_link("predecessor-version", old) for old in earlier)]
    return {**item, "links": links}, replaced


def _version_link(rel: str, item: Mapping[str, Any]) -> dict[str, Any]:
    href = next((link["href"] for link in item["links"] if link["rel"] == "self"), f"./{item['id']}.json")
    return {"rel": rel, "href": href, "type": "application/geo+json", "title": item["id"]}


def _without(item: Mapping[str, Any], rel: str) -> list[dict[str, Any]]:
    return [link for link in item["links"] if link["rel"] != rel]

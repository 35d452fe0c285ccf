"""STAC documents as publishers send them, for the tests of the API."""


def make_collection(collection_id, **more):
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": collection_id,
        "description": "For tests.",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        },
        "links": [],
    } | more


def rectangle(west, south, east, north):
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def make_item(item_id, box=(5, 50, 6, 51), **properties):
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": item_id,
        "geometry": rectangle(*box),
        "bbox": list(box),
        "properties": {"datetime": "2024-05-01T00:00:00Z"} | properties,
        "assets": {"data": {"href": f"https://example.com/{item_id}.tif", "roles": ["data"]}},
        "links": [],
    }

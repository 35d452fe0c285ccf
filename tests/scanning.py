"""Scans for tests: scenes made of the recorded ones, watches over them, and what the ledger holds afterwards."""

import copy
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from shapely.geometry import box, mapping

from geodl_core.catalog.open import open_catalog
from geodl_core.domain.watch.watch import read_watch
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.tables import RUNS
from geodl_core.service.ledger.watches import put_watch
from geodl_core.service.services import Services

NOW = datetime(2025, 8, 2, 12, tzinfo=UTC)
C1 = "sentinel-2-c1-l2a"
L2A = "sentinel-2-l2a"
AREA = (10.0, 45.0, 11.0, 46.0)
RECORDED = {
    C1: "earthsearch-v1_sentinel-2-c1-l2a_S2B_T20EPT_20250731.json",
    L2A: "earthsearch-v1_sentinel-2-l2a_S2B_20EPT_20250731.json",
    "planetary": "planetary-computer_sentinel-2-l2a_S2B_T13TDE_20240825.json",
}
MODEL = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "id": "fields-0123456789ab",
    "collection": "models",
    "geometry": mapping(box(-180, -90, 180, 90)),
    "bbox": [-180, -90, 180, 90],
    "properties": {
        "datetime": "2025-01-01T00:00:00Z",
        "created": "2025-01-01T00:00:00Z",
        "geodl:model": "fields",
        "version": "0123456789ab",
    },
    "links": [],
    "assets": {},
}
COLLECTION = {
    "type": "Collection",
    "stac_version": "1.1.0",
    "id": "models",
    "description": "Models",
    "license": "other",
    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
    "links": [],
}


def rfc3339(moment):
    return moment.isoformat().replace("+00:00", "Z")


def recorded(shared, kind=C1):
    """Return an Item as a public API gave it."""
    return json.loads((shared / "fixtures" / "stac" / RECORDED[kind]).read_text())


def scene(template, number, at, **changes):
    """Return a scene like a recorded one.

    Args:
        template: the recorded Item.
        number: tells it from others.
        at: when it was taken.
        changes: `bounds`, `created`, `collection`, and properties by their names with `__` for `:`.
    """
    bounds = changes.pop("bounds", (10.2, 45.2, 10.8, 45.8))
    item = copy.deepcopy({name: value for name, value in template.items() if name != "properties"})
    created = changes.pop("created", at + timedelta(hours=2))
    own = {name.replace("__", ":"): value for name, value in changes.items() if name != "collection"}
    properties = {**template["properties"], "datetime": rfc3339(at), "s2:tile_id": f"TILE_{number}", **own}
    properties |= {"created": rfc3339(created), "updated": rfc3339(created), "s2:product_uri": f"P_{number}.SAFE"}
    item["id"] = f"S2_{number}_{'cog' if changes.get('collection') == L2A else 'c1'}"
    item["collection"] = changes.get("collection", template["collection"])
    item["geometry"], item["bbox"] = mapping(box(*bounds)), list(bounds)
    item["assets"] = {
        key: {**asset, "href": f"https://scenes.example.com/{item['id']}/{key}.tif"}
        for key, asset in list(template["assets"].items())[:4]
    }
    links = [link for link in template["links"] if link["rel"] != "self"]
    return {**item, "properties": properties, "links": links}


def scenes(template, count, days=9.0):
    """Return so many scenes, evenly over the days before `NOW`."""
    step = timedelta(days=days) / count
    return [scene(template, number, NOW - timedelta(hours=3) - number * step) for number in range(count)]


def watch_of(url, **changes):
    """Return a watch over `AREA`."""
    document = {
        "name": "fields",
        "model": "fields",
        "collections": [C1],
        "aoi": mapping(box(*AREA)),
        "mode": "schedule",
        "schedule": {"every": "PT6H"},
        "source": {"api": url, **changes.pop("source", {})},
        **changes,
    }
    return read_watch({name: value for name, value in document.items() if value is not None}, "watch")


@contextmanager
def serving(folder: Path, watch, now=NOW, location=None):
    """Give services with a registered model and a watch, at a time that stands still."""
    location = location or str(folder / "catalog.db")
    with open_catalog(location) as catalog, Ledger(location, clock=now.timestamp) as ledger:
        catalog.put_collection(COLLECTION)
        catalog.put_item(MODEL)
        put_watch(ledger, watch, replaces=True)
        yield Services(catalog, ledger, folder / "out")


def ordered(services):
    """Return the ids of the Items of all runs."""
    with services.ledger.reading() as connection:
        return set(connection.execute(sa.select(RUNS.c.item_id)).scalars())


def ignore(report):
    """Take no notice."""


class Waits:
    """Pauses that were asked for; none is made."""

    def __init__(self, ledger=None):
        self.seconds = []
        self.why = []

    def __call__(self, seconds, why=""):
        self.seconds.append(seconds)
        self.why.append(why)

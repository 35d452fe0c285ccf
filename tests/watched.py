"""A catalog with a registered model and a ledger, for tests of watches and triggers."""

from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa

from geodl_core.catalog.models import add_model
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.watch.watch import read_watch
from geodl_core.io.package.package import load_package
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import run_of
from geodl_core.service.ledger.tables import RUNS
from geodl_core.service.ledger.watches import put_watch
from geodl_core.service.services import Services
from geodl_core.service.watches.dispatch import dispatch_once
from geodl_core.service.watches.known import Known
from networks import conv_network, write_emd
from stac_documents import make_collection, rectangle


@contextmanager
def opened(folder):
    """Catalog and ledger of a folder, made where they are missing."""
    location = folder / "catalog.db"
    with Ledger(str(location)) as ledger, SqliteCatalog(location) as catalog:
        yield Services(catalog, ledger, folder / "out")


def register(services, folder, name="net", seed=5):
    """Register a small model; return its Item."""
    source = folder / f"source-{name}-{seed}"
    source.mkdir(exist_ok=True)
    conv_network(source / "net.onnx", seed=seed)
    package = load_package(str(write_emd(source, ModelName=name)))
    return add_model(services.catalog, folder / "models", package, datetime.now(UTC))


def watch(services, name="w", replaces=False, **more):
    """Keep a watch."""
    return put_watch(services.ledger, read_watch({"name": name, "model": "net", **more}, "watch"), replaces=replaces)


def scene(item_id="i", collection="scenes", **more):
    """Return an Item with one asset."""
    properties = {"datetime": "2026-05-01T00:00:00Z", **more.pop("properties", {})}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": item_id,
        "collection": collection,
        "geometry": rectangle(10, 45, 11, 46),
        "bbox": [10, 45, 11, 46],
        "properties": properties,
        "links": [],
        "assets": {"red": {"href": f"https://example.com/{item_id}/red.tif", "type": "image/tiff"}},
        **more,
    }


def collection(services, name="scenes"):
    """Put an empty Collection."""
    services.catalog.put_collection(make_collection(name))


def dispatch(services, known=None):
    """Dispatch until there is nothing to do; return how many writes were dealt with."""
    known = known or Known()
    total = 0
    while count := dispatch_once(services, known):
        total += count
    return total


def runs(services):
    """Return all runs, oldest first."""
    query = sa.select(RUNS.c.id).order_by(RUNS.c.created, RUNS.c.item_id)
    with services.ledger.reading() as connection:
        return [run_of(connection, run_id) for run_id in connection.execute(query).scalars()]

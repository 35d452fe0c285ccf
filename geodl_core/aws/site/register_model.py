"""A model brought to the bucket: registered as on one machine, in a folder that goes away, and copied from there."""

import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from geodl_core.aws.site.bucket_models import bucket_versions
from geodl_core.aws.site.documents import write_document
from geodl_core.aws.site.layout import Bucket, model_item_url, model_url
from geodl_core.catalog.model_versions import name_of, version_of
from geodl_core.catalog.models import add_model, list_models, models_collection
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.mlm.write import MODELS
from geodl_core.domain.naming import slug
from geodl_core.engine.register_scene import Catalog
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.remote.objects import join, upload


def add_model_to_bucket(
    s3: Any, bucket: Bucket, package: ModelPackage, now: datetime, catalog: Catalog | None = None
) -> tuple[dict[str, Any], bool]:
    """Register a model: its files and its Item below `models/<name>/<version>/`, the Item in a catalog, too.

    The same model again changes nothing but files that are gone. Other versions of the same name are linked with it.

    Args:
        s3: boto3's client.
        bucket: of the deployment.
        package: the model.
        now: for the Item's time stamps.
        catalog: where its Item is registered besides; None for nowhere.

    Returns:
        The Item, its hrefs in the bucket; and whether it is new there.

    Raises:
        ModelError: the model does not serve.
        InputError: the bucket may not be written.
        StoreError: the bucket does not answer.
        CatalogError: the catalog does not take the Item.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve() / "models"
        with SqliteCatalog(str(Path(scratch) / "catalog.db")) as here:
            name = slug(package.emd.ModelName or package.name)
            before = {item["id"]: item for item in bucket_versions(s3, bucket, name)}
            _take_in(here, before)
            added = add_model(here, folder, package, now)
            moved = _mover(folder, bucket)
            items = [moved(item) for item in list_models(here) if name_of(item) == name_of(added)]
        for path in sorted((folder / name_of(added) / version_of(added)).iterdir()):
            if path.name != f"{added['id']}.json":
                upload(path, join(model_url(bucket, name_of(added), version_of(added)), path.name))
        changed = [item for item in items if before.get(item["id"]) != item]
        # Last: where the Item is, the files are.
        for item in changed:
            write_document(s3, model_item_url(bucket, name_of(item), version_of(item)), item)
    if catalog is not None:
        if catalog.get_collection(MODELS) is None:
            catalog.put_collection(models_collection())
        catalog.put_items([item for item in items if catalog.get_item(MODELS, item["id"]) != item])
    return next(item for item in items if item["id"] == added["id"]), added["id"] not in before


def _take_in(here: SqliteCatalog, before: Mapping[str, dict[str, Any]]) -> None:
    """Put the versions that the bucket has into the catalog of a moment."""
    if not before:
        return
    here.put_collection(models_collection())
    here.put_items(list(before.values()))


def _mover(folder: Path, bucket: Bucket) -> Callable[[Any], Any]:
    """Return what takes hrefs of a folder of models to the bucket's, anywhere in a document."""
    start, url = f"{folder}/", f"{bucket.url}/models/"

    def moved(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: moved(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [moved(entry) for entry in value]
        return f"{url}{value.removeprefix(start)}" if isinstance(value, str) and value.startswith(start) else value

    return moved

"""Options of the commands that need a registry of models, and the catalog, folder or deployment that they mean."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:  # heavy: paid by a command, not by --help
    from geodl_core.catalog.pgstac.catalog import PgstacCatalog
    from geodl_core.catalog.sqlite import SqliteCatalog
    from geodl_core.catalog.stac_api import StacApiCatalog

STORE_NAME = "models"

catalog_option = click.option(
    "--catalog",
    metavar="PATH|URL",
    help="A catalog file, or the address of a STAC API.  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)
json_option = click.option("--json", "is_json", is_flag=True, help="Print JSON, for machines.")


def where(catalog: str | None) -> str:
    """Return the path or URL of the catalog that is meant."""
    return catalog or Settings.from_env().catalog


def models_folder(catalog: str, store: Path | None) -> Path:
    """Return the folder of models: as told, else beside the catalog file.

    Raises:
        InputError: none is told, and the catalog is no file.
    """
    if store is not None:
        return store
    if "://" in catalog.removeprefix("file://"):
        raise InputError(f"--store: expected a folder for models, as {hide_secrets(catalog)} is no file to lie beside")
    return Path(catalog.removeprefix("file://")).parent / STORE_NAME


def opened(catalog: str, create: bool = False) -> "SqliteCatalog | PgstacCatalog | StacApiCatalog":
    """Open a catalog; it is closed as a context manager."""
    from geodl_core.catalog.open import open_catalog

    return open_catalog(catalog, create=create)


def find_registered(model: str, catalog: str | None, stack: str | None) -> dict[str, Any]:
    """Return the Item of a registered model, of a deployment where one is meant.

    Raises:
        ModelError: there is none, or there are several.
    """
    if stack is not None:
        from geodl_core.aws.site.bucket_models import find_bucket_model
        from geodl_core.cli.stack_option import opened_deployment

        deployment = opened_deployment(stack)
        return find_bucket_model(deployment.s3, deployment.bucket, model)
    from geodl_core.catalog.models import find_model

    with opened(where(catalog)) as found:
        return find_model(found, model)


def now() -> Any:
    """Return the time, in UTC."""
    from datetime import UTC, datetime

    return datetime.now(UTC)

"""What the commands of `geodl watch` share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import click

from geodl_core.settings import Settings

if TYPE_CHECKING:  # heavy: paid by a command, not by --help
    from geodl_core.service.services import FullCatalog, Services

catalog_option = click.option(
    "--catalog",
    metavar="PATH|URL",
    help="A catalog file or postgresql://…  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)
json_option = click.option("--json", "is_json", is_flag=True, help="Print JSON, for machines.")


@contextmanager
def services_of(catalog: str | None, *, creates: bool = False) -> "Iterator[Services]":
    """Give catalog and ledger at a place.

    Raises:
        CatalogError: there is no catalog, and it is not to be created.
    """
    from geodl_core.catalog.open import open_catalog
    from geodl_core.service.ledger.database import Ledger
    from geodl_core.service.services import Services

    settings = Settings.from_env()
    location = catalog or settings.catalog
    if not creates and "://" not in location:
        with open_catalog(location, create=False):
            pass
    # The ledger says first what is wrong with the place.
    with Ledger(location) as ledger, open_catalog(location) as opened:
        yield Services(cast("FullCatalog", opened), ledger, settings.out)

"""A catalog from what a person calls it by: a path or an address."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.errors import InputError

if TYPE_CHECKING:
    from geodl_core.catalog.pgstac.catalog import PgstacCatalog
    from geodl_core.catalog.stac_api import StacApiCatalog

POSTGRES = ("postgresql://", "postgres://")
PACKAGES = ("psycopg", "psycopg_pool")
"""Of the extra `pgstac`, those that reading and writing a catalog needs."""
MIGRATING = "pypgstac"
"""Of the same extra: making a catalog needs it, too."""


def open_catalog(location: str, create: bool = True) -> "SqliteCatalog | PgstacCatalog | StacApiCatalog":
    """Return the STAC API or the PostgreSQL database at `location` if that is an address, else the catalog file.

    Args:
        location: `https://…`, `postgresql://…` or a path.
        create: whether to make a missing file; a service or database is never made.

    Raises:
        InputError: PostgreSQL is asked for, and the packages for it are not installed.
        CatalogError: the file is missing or no catalog; the database does not answer or is no catalog.
    """
    lower = location.lower()
    if lower.startswith(("http://", "https://")):
        from geodl_core.catalog.stac_api import StacApiCatalog  # noqa: PLC0415  # 0.2 s, for remote catalogs

        return StacApiCatalog(location)
    if lower.startswith(POSTGRES):
        require_postgres()
        from geodl_core.catalog.pgstac.catalog import PgstacCatalog  # noqa: PLC0415  # 0.2 s, for catalogs of servers

        return PgstacCatalog(location)
    return SqliteCatalog(location.removeprefix("file://"), create=create)


def require_postgres(*more: str) -> None:
    """Return if the packages of the extra `pgstac` are installed, and more of its packages, if named.

    Raises:
        InputError: they are not.
    """
    if any(find_spec(name) is None for name in (*PACKAGES, *more)):
        raise InputError(
            "postgresql://: expected the packages of the extra pgstac, found none",
            hint="pip install '.[cpu,pgstac]' in a checkout of geodl",
        )

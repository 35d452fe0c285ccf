"""A catalog from what a person calls it by: a path or an address."""

from typing import TYPE_CHECKING

from geodl_core.catalog.sqlite import SqliteCatalog

if TYPE_CHECKING:
    from geodl_core.catalog.pgstac.catalog import PgstacCatalog
    from geodl_core.catalog.stac_api import StacApiCatalog

POSTGRES = ("postgresql://", "postgres://")


def open_catalog(location: str, create: bool = True) -> "SqliteCatalog | PgstacCatalog | StacApiCatalog":
    """Return the STAC API or the PostgreSQL database at `location` if that is an address, else the catalog file.

    Args:
        location: `https://…`, `postgresql://…` or a path.
        create: whether to make a missing file; a service or database is never made.

    Raises:
        CatalogError: the file is missing or no catalog; the database does not answer or is no catalog.
    """
    lower = location.lower()
    if lower.startswith(("http://", "https://")):
        from geodl_core.catalog.stac_api import StacApiCatalog  # noqa: PLC0415  # 0.2 s, for remote catalogs

        return StacApiCatalog(location)
    if lower.startswith(POSTGRES):
        from geodl_core.catalog.pgstac.catalog import PgstacCatalog  # noqa: PLC0415  # 0.2 s, for catalogs of servers

        return PgstacCatalog(location)
    return SqliteCatalog(location.removeprefix("file://"), create=create)

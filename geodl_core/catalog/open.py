"""A catalog from what a person calls it by: a path or an address."""

from typing import TYPE_CHECKING

from geodl_core.catalog.sqlite import SqliteCatalog

if TYPE_CHECKING:
    from geodl_core.catalog.stac_api import StacApiCatalog


def open_catalog(location: str, create: bool = True) -> "SqliteCatalog | StacApiCatalog":
    """Return the STAC API at `location` if that is an http(s) address, else the catalog file at that path.

    Args:
        location: `https://…` or a path.
        create: whether to make a missing file; a service is never made.

    Raises:
        CatalogError: the file is missing or no catalog.
    """
    if location.lower().startswith(("http://", "https://")):
        from geodl_core.catalog.stac_api import StacApiCatalog  # noqa: PLC0415  # 0.2 s, for remote catalogs

        return StacApiCatalog(location)
    return SqliteCatalog(location.removeprefix("file://"), create=create)

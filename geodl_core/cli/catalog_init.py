"""`geodl catalog init`: an empty catalog, in a file or in PostgreSQL."""

import click

from geodl_core.settings import Settings


@click.command("init", short_help="Make a catalog, in a file or in PostgreSQL.")
@click.option(
    "--catalog",
    metavar="PATH|ADDRESS",
    help="A file, or postgresql://user:password@host/database.  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
)
def init(catalog: str | None) -> None:
    """Make a catalog, or bring one to this version; what is there already stays.

    In PostgreSQL the database has to exist. It gets PostGIS and pgstac, the indexes that searches need, and a schema
    geodl. Give the address in GEODL_CATALOG where others may read the list of processes, which shows passwords.

    \b
    Examples:
      geodl catalog init
      geodl catalog init --catalog results/catalog.db
      geodl catalog init --catalog postgresql://geodl:secret@localhost:5432/stac
    """
    from geodl_core.catalog.open import MIGRATING, POSTGRES, require_postgres
    from geodl_core.errors import InputError

    location = catalog or Settings.from_env().catalog
    lower = location.lower()
    if lower.startswith(POSTGRES):
        require_postgres(MIGRATING)
        from geodl_core.catalog.pgstac.bootstrap import init as make
        from geodl_core.catalog.pgstac.connections import address_name

        make(location, lambda line: click.echo(f"done     {line}"))
        click.echo(f"catalog  {address_name(location)}")
        return
    if "://" in lower and not lower.startswith("file://"):
        raise InputError("--catalog: expected a path or postgresql://…, found another address")
    from geodl_core.catalog.sqlite import SqliteCatalog

    with SqliteCatalog(location.removeprefix("file://")) as opened:
        opened.check()
        click.echo(f"catalog  {opened.path}")

"""Making a PostgreSQL database a catalog, and what has to be done to it now and then."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing

import psycopg

from geodl_core.catalog.pgstac.connections import INIT_HINT, Connection, Pool, address_name, connect, translated
from geodl_core.catalog.pgstac.queryables import DEFINITIONS
from geodl_core.catalog.pgstac.schema import FUNCTIONS, GRANTS, SCHEMA_VERSION, TABLES, index_statements
from geodl_core.catalog.pgstac.write import LOCK
from geodl_core.errors import CatalogError

PGSTAC = "0.10."
"""Versions of pgstac that the SQL of this package is written for."""
EXTENSIONS = ("postgis", "btree_gist", "unaccent")
_INIT_LOCK = "SELECT pg_advisory_lock(7310582042)"


def init(dsn: str, tell: Callable[[str], None] = lambda _: None) -> None:
    """Make a database a catalog, or bring one to this version; what is done already is left as it is.

    Args:
        dsn: of a database that exists, by a user who may make schemas, and roles where pgstac's are missing.
        tell: hears what has been done, a line a step.

    Raises:
        CatalogError: PostgreSQL does not answer, lacks an extension, or does not let this user do it.
    """
    name = address_name(dsn)
    with closing(connect(dsn, autocommit=True)) as connection, translated(name):
        connection.execute(_INIT_LOCK)
        _add_extensions(connection, name, tell)
        _migrate(connection, dsn, name, tell)
        _put_off_maintenance(connection, tell)
        _add_queryables(connection, tell)
        _add_schema(connection, tell)
    with Pool(dsn) as pool:
        maintain(pool)


def check_ready(connection: Connection, name: str) -> None:
    """Return if a database is a catalog of this version.

    Raises:
        CatalogError: it is not.
    """
    found = connection.execute(
        "SELECT to_regclass('pgstac.items') IS NOT NULL, to_regclass('geodl.about') IS NOT NULL"
    ).fetchone()
    if found != (True, True):
        raise CatalogError(f"{name}: expected a catalog of geodl, found another database", hint=INIT_HINT)
    pgstac, schema = connection.execute(
        "SELECT pgstac.get_version(), (SELECT value FROM geodl.about WHERE name = 'version')"
    ).fetchall()[0]
    if not str(pgstac).startswith(PGSTAC):
        raise CatalogError(f"{name}: expected pgstac {PGSTAC}x, found {pgstac}", hint=INIT_HINT)
    if int(schema or 0) > SCHEMA_VERSION:
        raise CatalogError(
            f"{name}: expected catalog version {SCHEMA_VERSION} or older, found {schema}",
            hint="a newer geodl wrote it: upgrade this one",
        )
    if int(schema or 0) < SCHEMA_VERSION:
        raise CatalogError(f"{name}: expected catalog version {SCHEMA_VERSION}, found {schema}", hint=INIT_HINT)


def maintain(pool: Pool) -> None:
    """Run what pgstac has queued, a step at a time.

    Each step takes the writers' lock: it changes the same rows and tables, in another order than they do.

    Raises:
        CatalogError: the database does not answer, or the user is no member of pgstac_admin.
    """
    # No more than is there now: who writes all the time queues all the time.
    with pool.lent() as connection:
        waiting = int(connection.execute("SELECT count(*) FROM pgstac.query_queue").fetchall()[0][0])
    for _ in range(waiting):
        if not pool.write(_maintain_step):
            break
    pool.write(lambda connection: connection.execute("SELECT pgstac.retire_queued_queries()"))


def _maintain_step(connection: Connection) -> bool:
    connection.execute(LOCK)
    return bool(connection.execute("SELECT pgstac.run_queued_query()").fetchall()[0][0])


def _add_extensions(connection: Connection, name: str, tell: Callable[[str], None]) -> None:
    there = {found for (found,) in connection.execute("SELECT extname FROM pg_extension")}
    missing = [extension for extension in EXTENSIONS if extension not in there]
    commands = " ".join(f"CREATE EXTENSION {extension};" for extension in missing)
    for extension in missing:
        try:
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
        except psycopg.errors.InsufficientPrivilege as err:
            raise CatalogError(
                f"{name}: expected the extension {extension}, which this user may not create",
                hint=f"as a superuser of PostgreSQL, in this database: {commands}",
            ) from err
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as err:
            raise CatalogError(
                f"{name}: expected the extension {extension}, which is not installed on the server",
                hint="Debian: apt install postgresql-15-postgis-3 (and postgresql-contrib elsewhere)",
            ) from err
    tell(f"extensions {', '.join(EXTENSIONS)}" + (f": made {', '.join(missing)}" if missing else ": there"))


def _migrate(connection: Connection, dsn: str, name: str, tell: Callable[[str], None]) -> None:
    from pypgstac import __version__  # noqa: PLC0415  # all of these are needed once in a catalog's life
    from pypgstac.db import PgstacDB  # noqa: PLC0415
    from pypgstac.migrate import Migrate  # noqa: PLC0415

    before = _pgstac_version(connection)
    if before == __version__:
        tell(f"pgstac {before}: there")
        return
    if before is not None and _number(before) > _number(__version__):
        raise CatalogError(f"{name}: expected pgstac {__version__} or older, found {before}")
    _check_roles(connection, name)
    database = PgstacDB(dsn=dsn)
    try:
        Migrate(database).run_migration()
    finally:
        if database.connection is not None:
            database.connection.close()
        database.close()
    tell(f"pgstac {__version__}: " + (f"upgraded from {before}" if before else "installed"))


def _check_roles(connection: Connection, name: str) -> None:
    """Return if pgstac's roles are there, or can be made."""
    may = connection.execute(
        "SELECT rolsuper OR rolcreaterole OR (SELECT count(*) = 3 FROM pg_roles "
        "WHERE rolname IN ('pgstac_admin', 'pgstac_read', 'pgstac_ingest')) FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    if may != (True,):
        raise CatalogError(
            f"{name}: expected the roles pgstac_admin, pgstac_read and pgstac_ingest, which this user may not create",
            hint="run geodl catalog init once as a superuser of PostgreSQL, then GRANT pgstac_admin TO the user",
        )


def _put_off_maintenance(connection: Connection, tell: Callable[[str], None]) -> None:
    # Done at once, it makes writers that come together stop one another.
    connection.execute(
        "INSERT INTO pgstac.pgstac_settings (name, value) VALUES ('use_queue', 'true') "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    tell("setting use_queue: true")


def _add_queryables(connection: Connection, tell: Callable[[str], None]) -> None:
    added: Sequence[str] = [
        str(name)
        for name, definition in DEFINITIONS.items()
        for _ in connection.execute(
            "INSERT INTO pgstac.queryables (name, definition) SELECT %s, %s::jsonb "
            "WHERE NOT EXISTS (SELECT FROM pgstac.queryables WHERE name = %s) RETURNING 1",
            (name, json.dumps(definition), name),
        )
    ]
    tell(f"queryables: {len(added)} of {len(DEFINITIONS)} added")


def _add_schema(connection: Connection, tell: Callable[[str], None]) -> None:
    icu = connection.execute("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'").fetchone()
    collation = 'COLLATE "und-x-icu"' if icu else ""
    with connection.transaction():
        if connection.execute("SELECT to_regnamespace('geodl')").fetchone() == (None,):
            connection.execute("CREATE SCHEMA geodl AUTHORIZATION pgstac_admin")
        # As pgstac does: members of pgstac_admin may do everything, of pgstac_ingest write, of pgstac_read read.
        connection.execute("SET LOCAL ROLE pgstac_admin")
        for statement in (TABLES, FUNCTIONS.format(icu=collation), *index_statements(), GRANTS):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO geodl.about VALUES ('version', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(SCHEMA_VERSION),),
        )
    tell(f"schema geodl {SCHEMA_VERSION}: functions, outbox, {len(index_statements()) // 2} indexes")


def _pgstac_version(connection: Connection) -> str | None:
    if connection.execute("SELECT to_regclass('pgstac.migrations')").fetchone() == (None,):
        return None
    found = connection.execute("SELECT pgstac.get_version()").fetchone()
    return None if found is None or found[0] is None else str(found[0])


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())

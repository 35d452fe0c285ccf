"""`geodl token`: who may use a server."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from geodl_core.cli.lazy import LazyGroup
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.service.ledger.database import Ledger

COMMANDS = {
    "add": "geodl_core.cli.token:add",
    "list": "geodl_core.cli.token:list_all",
    "revoke": "geodl_core.cli.token:revoke",
}
SCOPES = ("read", "publish", "worker", "admin")
UNITS_S = {"h": 3_600, "d": 86_400, "w": 604_800}
CATALOG_HELP = "A catalog file or postgresql://…  [default: $GEODL_CATALOG, else catalog.db in the results' folder]"


@click.group(cls=LazyGroup, commands=COMMANDS)
def token() -> None:
    """Make, list and revoke the tokens by which callers of a server are known.

    \b
    Examples:
      geodl token add field-office --scope publish --expires 90d
      geodl token list
      geodl token revoke field-office
    """


@click.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What it is good for; repeatable. publish includes read, admin everything.",
)
@click.option("--expires", metavar="TIME", help="From now, as 12h, 90d or 8w.  [default: never]")
@click.option("--catalog", metavar="PATH|URL", help=CATALOG_HELP)
def add(name: str, scopes: tuple[str, ...], expires: str | None, catalog: str | None) -> None:
    """Make a token for NAME and print it, which happens this once: the catalog's database keeps a hash of it.

    \b
    Examples:
      geodl token add ci --scope publish --expires 90d
      geodl token add gpu-1 --scope worker --catalog postgresql://geodl@db/geodl
    """
    from geodl_core.service.access.tokens import add_token

    lasts_s = None if expires is None else _seconds(expires)
    with _ledger(catalog) as ledger:
        text, made = add_token(ledger, name, scopes, None if lasts_s is None else ledger.clock() + lasts_s)
    click.echo(text)
    until = "for ever" if made.expires is None else f"until {_time(made.expires)}"
    click.echo(f"{name}: {', '.join(made.scopes)}, {until}; it is not shown again", err=True)


@click.command("list")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
@click.option("--catalog", metavar="PATH|URL", help=CATALOG_HELP)
def list_all(is_json: bool, catalog: str | None) -> None:
    """List the tokens: what they are good for, until when, and when they were used last.

    \b
    Examples:
      geodl token list
      geodl token list --json
    """
    import json

    from geodl_core.service.access.tokens import list_tokens

    with _ledger(catalog) as ledger:
        found, now = list_tokens(ledger), ledger.clock()
    rows = [
        {
            "id": one.id,
            "name": one.name,
            "scopes": list(one.scopes),
            "created": _time(one.created),
            "expires": one.expires and _time(one.expires),
            "expired": one.expires is not None and one.expires <= now,
            "last_used": one.last_used and _time(one.last_used),
        }
        for one in found
    ]
    if is_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        until = "expired" if row["expired"] else f"until {row['expires'] or 'revoked'}"
        used = f"used {row['last_used']}" if row["last_used"] else "not used yet"
        click.echo(f"{row['id']}  {row['name']}  {','.join(row['scopes'])}  {until}  {used}")  # type: ignore[arg-type]


@click.command()
@click.argument("name")
@click.option("--catalog", metavar="PATH|URL", help=CATALOG_HELP)
def revoke(name: str, catalog: str | None) -> None:
    """Revoke the token of NAME, or of an id: from the next request on it opens nothing.

    \b
    Examples:
      geodl token revoke ci
    """
    from geodl_core.service.access.tokens import revoke_token

    with _ledger(catalog) as ledger:
        gone = revoke_token(ledger, name)
    click.echo(f"revoked {gone.name}", err=True)


def _ledger(catalog: str | None) -> "Ledger":
    from geodl_core.service.ledger.database import Ledger

    return Ledger(catalog or Settings.from_env().catalog)


def _seconds(text: str) -> float:
    from geodl_core.errors import InputError

    found = re.fullmatch(r"(\d{1,6})([hdw])", text)
    if found is None or int(found[1]) == 0:
        raise InputError(f"--expires {text}: expected a time as 12h, 90d or 8w")
    return float(int(found[1]) * UNITS_S[found[2]])


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

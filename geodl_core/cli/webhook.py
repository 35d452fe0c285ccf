"""`geodl webhook`: who is told, by a signed POST, when runs end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.job_options import with_options
from geodl_core.domain.run.state import FINAL, STATES
from geodl_core.errors import StoreError
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.service.ledger.database import Ledger

CATALOG = (
    click.option(
        "--catalog",
        metavar="PATH|URL",
        help="A catalog file or postgresql://…  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
    ),
)


@click.group(short_help="Tell others when runs end.")
def webhook() -> None:
    """Tell others when runs end: CloudEvents by signed POSTs, sent by `geodl serve`.

    \b
    Examples:
      geodl webhook add https://hooks.example.com/geodl --watch fields
      geodl webhook list
    """


@webhook.command(short_help="Add a webhook.")
@click.argument("url")
@click.option("--watch", "watches", multiple=True, metavar="NAME", help="Runs of this watch; repeatable.  [all runs]")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Runs that come into it; repeatable.  [default: succeeded, failed, invalid, cancelled]",
)
@click.option("--allow-private", is_flag=True, help="URL may be http, on this machine or in a private network.")
@with_options(CATALOG)
def add(url: str, watches: tuple[str, ...], states: tuple[Any, ...], allow_private: bool, catalog: str | None) -> None:
    """Add a webhook, and print the secret by which its receiver checks signatures; it is shown this once.

    \b
    Examples:
      geodl webhook add https://hooks.example.com/geodl
      geodl webhook add https://hooks.example.com/geodl --watch fields --state failed --state invalid
      geodl webhook add http://127.0.0.1:9000/ --allow-private
    """
    from geodl_core.service.webhooks.subscriptions import Asked, add_webhook

    with _opened(catalog) as ledger:
        added, secret = add_webhook(ledger, Asked(url, watches, states or FINAL, allow_private))
    click.echo(f"webhook  {added.id}")
    click.echo(f"secret   {secret}")


@webhook.command("list", short_help="List webhooks.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@with_options(CATALOG)
def list_(as_json: bool, catalog: str | None) -> None:
    """List webhooks: what they are told, and what came of it.

    \b
    Examples:
      geodl webhook list
      geodl webhook list --json
    """
    import json

    from geodl_core.cli.main import printable
    from geodl_core.service.runs.facts import stamp
    from geodl_core.service.webhooks.subscriptions import list_webhooks

    with _opened(catalog) as ledger:
        found = list_webhooks(ledger)
    if as_json:
        names = ("id", "watches", "states", "is_private", "delivered", "waiting", "dead", "last_said")
        rows = [
            {"url": one.shown_url, **{name: getattr(one, name) for name in names}, "last_at": stamp(one.last_at)}
            for one in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for one in found:
        click.echo(printable(f"{one.id}  {one.shown_url}"))
        told = f"of {', '.join(one.watches) or 'all runs'}: {', '.join(one.states)}"
        counts = f"{one.delivered} delivered, {one.waiting} waiting, {one.dead} given up"
        last = f"; last {stamp(one.last_at)}, {one.last_said}" if one.last_at else ""
        click.echo(printable(f"          {told}"))
        click.echo(printable(f"          {counts}{last}"))
    if not found:
        click.echo("no webhooks")


@webhook.command(short_help="Send a webhook a test.")
@click.argument("webhook_id", metavar="WEBHOOK")
@with_options(CATALOG)
def test(webhook_id: str, catalog: str | None) -> None:
    """Send a webhook a test message now, and print what it answers.

    \b
    Examples:
      geodl webhook test 3f2a91c0
    """
    import secrets

    from geodl_core.service.webhooks.deliver import try_webhook
    from geodl_core.service.webhooks.post import Sender

    with _opened(catalog) as ledger:
        sender = Sender(Settings.from_env().access.allowed_hosts)
        is_taken, said = try_webhook(ledger, webhook_id, sender, secrets.token_hex(8))
    if not is_taken:
        raise StoreError(f"webhook {webhook_id}: {said}", hint="expected an answer from 200 to 299")
    click.echo(said)


@webhook.command(short_help="Send anew what was given up.")
@click.argument("webhook_id", metavar="WEBHOOK")
@with_options(CATALOG)
def redeliver(webhook_id: str, catalog: str | None) -> None:
    """Send a webhook the messages anew that were given up after eight tries.

    \b
    Examples:
      geodl webhook redeliver 3f2a91c0
    """
    from geodl_core.service.webhooks.subscriptions import redeliver as again

    with _opened(catalog) as ledger:
        count = again(ledger, webhook_id)
    click.echo(f"{count} message{'s' if count != 1 else ''} will be sent")


@webhook.command(short_help="Remove a webhook.")
@click.argument("webhook_id", metavar="WEBHOOK")
@with_options(CATALOG)
def remove(webhook_id: str, catalog: str | None) -> None:
    """Remove a webhook; what waits to be sent to it is given up.

    \b
    Examples:
      geodl webhook remove 3f2a91c0
    """
    from geodl_core.service.webhooks.subscriptions import remove_webhook

    with _opened(catalog) as ledger:
        lost = remove_webhook(ledger, webhook_id)
    click.echo(f"removed {webhook_id}" + (f"; {lost} messages given up" if lost else ""))


@contextmanager
def _opened(catalog: str | None) -> Iterator["Ledger"]:
    from geodl_core.service.ledger.database import Ledger

    with Ledger(catalog or Settings.from_env().catalog) as ledger:
        yield ledger

"""Options of `geodl runs`: where the runs are, and which of them are meant."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from geodl_core.cli.stack_option import meant_stack, opened_deployment, stack_option
from geodl_core.domain.run.state import STATES
from geodl_core.errors import InputError
from geodl_core.settings import Settings

if TYPE_CHECKING:
    from geodl_core.service.ledger.runs import RunFilter
    from geodl_core.service.runs.access import LoggedRuns, Runs

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
HERE_OPTIONS = (
    click.option(
        "--catalog",
        metavar="PATH|URL",
        help="A catalog file or postgresql://…  [default: geodl-out/catalog.db; env: GEODL_CATALOG]",
    ),
    click.option("--server", metavar="URL", help="Of a `geodl serve`: ask it instead."),
    click.option("--token", metavar="TOKEN", help="For --server.  [env: GEODL_TOKEN]"),
)
PLACE_OPTIONS = (*HERE_OPTIONS, stack_option)
CHOICE_OPTIONS = (
    click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only these; repeatable."),
    click.option("--watch", metavar="NAME", help="That this watch asked for."),
    click.option("--model", metavar="NAME[@VERSION]", help="Of this model."),
    click.option("--item", metavar="COLLECTION/ID", help="Of this source Item."),
    click.option("--since", metavar="TIME|AGE", help="Changed since: 2026-05-14, 2026-05-14T10:30:00Z, 30m, 12h, 7d."),
    click.option("--where", metavar="CQL2", help="A filter over properties of runs, as text or JSON."),
)


@contextmanager
def opened_runs(options: Mapping[str, Any]) -> Iterator["Runs"]:
    """Give the runs that the options of place mean.

    Raises:
        InputError: several places are named, or one that is none.
        CatalogError: they cannot be reached.
    """
    stack = meant_stack(options["stack"], catalog=options["catalog"], server=options["server"])
    if stack is not None:
        deployment = opened_deployment(stack)
        from geodl_core.aws.operate.stack_runs import StackRuns

        yield StackRuns(deployment)
        return
    with opened_here(options) as runs:
        yield runs


@contextmanager
def opened_here(options: Mapping[str, Any]) -> Iterator["LoggedRuns"]:
    """Give the runs of a catalog or of a server.

    Raises:
        InputError: both are named, or one that is none.
        CatalogError: they cannot be reached.
    """
    if options["server"]:
        if options["catalog"]:
            raise InputError("--catalog and --server exclude one another: expected one of them")
        from geodl_core.service.runs.remote import RemoteRuns

        with RemoteRuns(options["server"], options["token"] or Settings.from_env().token) as remote:
            yield remote
        return
    from geodl_core.service.ledger.database import Ledger
    from geodl_core.service.runs.access import LocalRuns

    with Ledger(options["catalog"] or Settings.from_env().catalog) as ledger:
        yield LocalRuns(ledger)


def asked_runs(options: Mapping[str, Any], limit: int) -> "RunFilter":
    """Return which runs the options mean, `--where` apart.

    Raises:
        InputError: an option cannot be understood.
    """
    from geodl_core.service.ledger.runs import RunFilter

    return RunFilter(
        states=tuple(options["states"]),
        watch=options["watch"],
        model=options["model"],
        item=_item(options["item"]),
        since=since_of(options["since"]),
        limit=limit,
    )


def is_choosing(options: Mapping[str, Any]) -> bool:
    """Say whether any option says which runs are meant."""
    return any(options[name] for name in ("states", "watch", "model", "item", "since", "where"))


def _item(text: str | None) -> tuple[str | None, str] | None:
    if text is None:
        return None
    collection, slash, item_id = text.rpartition("/")
    if not item_id:
        raise InputError(f"--item {text}: expected COLLECTION/ID")
    return (collection if slash else None), item_id


def since_of(text: str | None) -> float | None:
    """Return the time that `--since` means, in seconds since 1970.

    Raises:
        InputError: it is neither a time nor an age.
    """
    from geodl_core.service.runs.facts import seconds_of

    if text is None:
        return None
    age = re.fullmatch(r"(\d+)\s*([smhdw])", text.strip())
    if age:
        return time.time() - int(age[1]) * UNITS_S[age[2]]
    try:
        return seconds_of(text)
    except InputError as error:
        raise InputError(f"--since: {error.message}", hint="or an age such as 30m, 12h, 7d") from error

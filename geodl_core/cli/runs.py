"""`geodl runs`: what the ledger of runs knows, and retry, cancel, rerun."""

import click

from geodl_core.cli.lazy import LazyGroup

COMMANDS = {
    "list": "geodl_core.cli.runs_list:list_",
    "show": "geodl_core.cli.runs_show:show",
    "logs": "geodl_core.cli.runs_show:logs",
    "retry": "geodl_core.cli.runs_change:retry",
    "cancel": "geodl_core.cli.runs_change:cancel",
    "rerun": "geodl_core.cli.runs_change:rerun",
}


@click.group(cls=LazyGroup, commands=COMMANDS, short_help="Look at runs; retry, cancel, rerun them.")
def runs() -> None:
    """Look at the runs that watches, the API and people ordered; retry, cancel, rerun them.

    \b
    Examples:
      geodl runs list --state failed
      geodl runs show 3f2a91c0
      geodl runs retry --where "error_class = 'StoreError'"
    """

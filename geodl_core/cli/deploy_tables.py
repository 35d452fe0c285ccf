"""What `geodl deploy` prints: what would change, and what one needs of a deployment."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from geodl_core.cli.aws_options import say

if TYPE_CHECKING:
    from geodl_core.aws.deploy.change_set import Action, Change
    from geodl_core.aws.site.stack import Stack

SIGNS = {"remove": ("-", "red"), "replace": ("±", "red"), "modify": ("~", "yellow"), "import": (">", "cyan")}
ADD = ("+", "green")
SUMMED: tuple["Action", ...] = ("add", "modify", "replace", "remove")
WIDTH = 120
"""Of the table where it does not go to a terminal."""
OUTPUTS = (
    ("STAC API", "stac_api"),
    ("catalog", "catalog_url"),
    ("runs API", "runs_api"),
    ("topic", "items_topic"),
    ("bucket", "bucket"),
    ("dashboard", "dashboard"),
)
"""What is printed of a deployment: its name, and the field of `Stack`."""


def print_plan(name: str, changes: Sequence["Change"], *, is_new: bool) -> None:
    """Print what a change set would do: a line for each resource, removals and replacements first, and marked."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from geodl_core.cli.deploy import short_kind

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=WIDTH, highlight=False)
    say(f"plan for stack {name}{', which is new' if is_new else ''}:")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for change in changes:
        sign, colour = SIGNS.get(change.action, ADD)
        kind = Text(short_kind(change.kind))
        if _remark(change):
            kind.append(f", {_remark(change)}", style=colour)
        table.add_row(Text(sign, style=colour), Text(change.logical_id), kind)
    console.print(table)
    counts = Counter(change.action for change in changes if not change.is_perhaps)
    perhaps = sum(change.is_perhaps for change in changes)
    more = f"; {perhaps} may be replaced" if perhaps else ""
    say(", ".join(f"{counts[action]} to {action}" for action in SUMMED) + more)
    lost = [change.logical_id for change in changes if change.loses_data]
    if lost:
        click.echo(f"warning: data is held by what goes: {', '.join(lost)}", err=True)


def print_outputs(stack: "Stack", steps: Sequence[str]) -> None:
    """Print where a deployment is reached, and what to do next."""
    say(f"stack {stack.name} is deployed")
    for label, name in OUTPUTS:
        value = getattr(stack, name)
        if value:
            # As it is: behind the # of a link is where it leads to.
            click.echo(f"{label:<10} {value}")
    if steps:
        say("next")
    for step in steps:
        say(f"  {step}")


def _remark(change: "Change") -> str:
    if change.action == "remove":
        return "is removed"
    if change.action == "replace":
        return "may be replaced" if change.is_perhaps else "is replaced"
    return ""

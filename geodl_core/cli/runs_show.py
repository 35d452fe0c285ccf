"""`geodl runs show` and `geodl runs logs`: one run, with what happened to it and what it said."""

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from geodl_core.cli.job_options import with_options
from geodl_core.cli.runs_options import HERE_OPTIONS, PLACE_OPTIONS, opened_here, opened_runs
from geodl_core.cli.stack_option import note_stack

PAUSE_S = 1.0
"""Between two looks for further lines."""


@click.command("show", short_help="Show all that is known of a run.")
@click.argument("run_id", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, its history with it.")
@with_options(PLACE_OPTIONS)
def show(run_id: str, as_json: bool, **options: Any) -> None:
    """Show all that is known of a run: its facts, its history, its result. RUN is an id, or its first 8 characters.

    \b
    Examples:
      geodl runs show 3f2a91c0
      geodl runs show 3f2a91c0 --json
      geodl runs show 3f2a91c0 --stack geodl
    """
    with opened_runs(options) as runs:
        facts = runs.read(run_id)
        events = runs.history(facts["id"])
    if as_json:
        click.echo(json.dumps({**facts, "history": events}, indent=2, ensure_ascii=False))
        return
    for name, value in _lines(facts):
        _say(f"{name:<9}{value}")
    click.echo("history")
    for event in events:
        attempt = f" ({event['attempt']})" if event["attempt"] > 1 else ""
        _say(f"  {_clock(event['at'])}  {event['state'] + attempt:<14} {event['text']}")


@click.command("logs", short_help="Print what a run's workers said.")
@click.argument("run_id", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@with_options(HERE_OPTIONS)
def logs(run_id: str, follow: bool, as_json: bool, **options: Any) -> None:
    """Print what a run's workers said. RUN is an id, or its first 8 characters. Of a deployment: `geodl aws logs`.

    \b
    Examples:
      geodl runs logs 3f2a91c0
      geodl runs logs 3f2a91c0 --follow
    """
    from geodl_core.service.runs.facts import has_ended

    if not options["server"]:
        note_stack(options["catalog"], "geodl aws logs prints what a deployment's runs said")
    after = 0
    with opened_here(options) as runs:
        while True:
            # Asked first: what is said before the end is then printed before it.
            facts = runs.read(run_id)
            for line in runs.logs(facts["id"], after):
                after = line["seq"]
                _print_line(line, as_json)
            if not follow or has_ended(facts):
                break
            time.sleep(PAUSE_S)
    if follow and not as_json:
        _say(f"{facts['state']}{': ' + facts['error']['message'] if facts['error'] else ''}")


def _lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    from geodl_core.service.runs.facts import progress

    item, error, result = facts["item"], facts["error"], facts["result"]
    state = facts["state"] + (", computed anew" if facts["is_forced"] else "")
    # Of a deployment whose bucket no longer has the order, or may not be read.
    is_told = facts["options"] is not None
    none = "none" if is_told else "not known"
    share = progress(facts)
    done = "not counted, " if share is None else f"{share} %, {facts['tiles_done']} of "
    found = [
        ("run", facts["id"]),
        ("state", f"{state}, attempt {facts['attempt']}"),
        ("item", "/".join(filter(None, (item["collection"], item["id"])))),
        ("model", facts["model"]),
        ("options", json.dumps(facts["options"], ensure_ascii=False) if facts["options"] else none),
        ("watch", facts["watch"] or "none"),
        ("priority", str(facts["priority"])),
        ("output", facts["collection"] or ("the model's own Collection" if is_told else none)),
        ("job", facts["job_id"] or "not planned yet"),
        ("done", f"{done}{facts['tiles']} tiles, {facts['shards']} shards"),
    ]
    times = ((name, facts[name]) for name in ("created", "started", "finished"))
    found += [(name, _clock(at)) for name, at in times if at]
    if result:
        found.append(("result", f"{result['collection']}/{result['id']}"))
    if error:
        found.append(("error", f"{error['class']}: {error['message']}"))
        found += [("hint", error["hint"])] if error.get("hint") else []
    return found


def _print_line(line: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(line, ensure_ascii=False))
    else:
        level = "" if line["level"] == "info" else f"{line['level']}: "
        _say(f"{_clock(line['at'])}  {line['worker']}  {level}{line['text']}")


def _clock(at: str) -> str:
    return at[:19].replace("T", " ")


def _say(text: str) -> None:
    from geodl_core.cli.main import printable

    click.echo(printable(text))

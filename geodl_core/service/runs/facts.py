"""Runs as documents, the same on the command line, over HTTP and in webhooks; and which of them a filter means."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from geodl_core.domain.run.state import FINAL
from geodl_core.domain.watch.filters import Filter, ask, read_filter
from geodl_core.errors import InputError, QueryError
from geodl_core.service.ledger.runs import Event, Run

SAME = ("id", "state", "attempt", "priority", "is_forced", "watch", "model", "collection", "job_id", "depth")
NUMBERS = ("shards", "tiles", "tiles_done")
TIMES = ("created", "updated", "started", "finished")
CHOSEN_BY = (
    *("id", "state", "attempt", "priority", "watch", "model", "model_name", "item", "collection"),
    *("output_collection", "result_collection", "result", "error_class", "progress", *NUMBERS, *TIMES),
)
"""Names that a filter of runs may look at."""


def stamp(seconds: float | None) -> str | None:
    """Return a time in RFC 3339, to the millisecond, UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Return seconds since 1970 of a time in RFC 3339, or of a day; without a zone it is UTC.

    Raises:
        InputError: it is no time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"expected a time such as 2026-05-14T10:30:00Z, found {text[:60]!r}") from error
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


def run_facts(run: Run) -> dict[str, Any]:
    """Return what is known of a run, for JSON; the folders of a server are left out."""
    result = None
    if run.result_collection is not None and run.result_id is not None:
        result = {"collection": run.result_collection, "id": run.result_id}
    return {
        **{name: getattr(run, name) for name in SAME},
        "item": {"collection": run.item_collection, "id": run.item_id},
        "options": dict(run.options),
        **{name: getattr(run, name) for name in NUMBERS},
        **{name: stamp(getattr(run, name)) for name in TIMES},
        "result": result,
        "error": None if run.error is None else dict(run.error),
    }


def event_facts(event: Event) -> dict[str, Any]:
    """Return a line of history, for JSON."""
    return {**asdict(event), "at": stamp(event.at)}


def line_facts(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of a log, for JSON."""
    return {**{name: line[name] for name in ("seq", "run_id", "worker", "level", "text")}, "at": stamp(line["at"])}


def progress(facts: Mapping[str, Any]) -> int | None:
    """Return how far a run is, per cent; 100 only where it has succeeded, None where its tiles are not counted."""
    if facts["state"] == "succeeded":
        return 100
    if facts["tiles_done"] is None:
        return None
    return min(99, 100 * int(facts["tiles_done"]) // int(facts["tiles"])) if facts["tiles"] else 0


def has_ended(facts: Mapping[str, Any]) -> bool:
    """Say whether a run is in a final state."""
    return facts["state"] in FINAL


def read_choice(text: str) -> Filter:
    """Read a CQL2 filter of runs.

    Raises:
        QueryError: it cannot be read, or looks at what runs do not have.
    """
    found = read_filter(text, "--where")
    for name in found.names:
        if name.removeprefix("properties.") not in CHOSEN_BY:
            raise QueryError(f"--where: no run has {name[:60]!r}", hint=f"there are: {', '.join(CHOSEN_BY)}")
    return found


def is_chosen(choice: Filter, facts: Mapping[str, Any]) -> bool:
    """Say whether a filter means a run; one of which that cannot be told is not meant."""
    item, result, error = facts["item"], facts["result"] or {}, facts["error"] or {}
    properties = {name: facts[name] for name in CHOSEN_BY if name in facts}
    properties |= {
        "model_name": str(facts["model"]).partition("@")[0],
        "item": item["id"],
        "collection": item["collection"],
        "output_collection": facts["collection"],
        "result_collection": result.get("collection"),
        "result": result.get("id"),
        "error_class": error.get("class"),
        "progress": progress(facts),
    }
    top = {"id": facts["id"], "collection": item["collection"]}
    return ask(choice, {**top, "properties": properties}).passed

"""Runs and watches over HTTP: looked at, retried, cancelled, kept; as a function answers behind an HTTP API."""

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from geodl_core.aws.api.asked import Asked, is_said
from geodl_core.aws.api.judge import Tokens, judge
from geodl_core.aws.api.watches_api import (
    add_watch,
    backfill_watch,
    check_item,
    delete_watch,
    list_watches,
    pause_watch,
    put_watch,
    resume_watch,
    scan_for_watch,
    show_backfills,
    show_watch,
)
from geodl_core.aws.ledger.ledger import (
    CloudRun,
    DynamoLedger,
    StatePage,
    cloud_history,
    each_by_state,
    read_run,
    retry_cloud_run,
)
from geodl_core.aws.ledger.watches import revision_of_watches
from geodl_core.aws.site.cancel_run import cancel_cloud_run
from geodl_core.aws.site.executions import start_run
from geodl_core.aws.watches.controls import Controls
from geodl_core.domain.run.state import STATES, State
from geodl_core.domain.scan.windows import stamp
from geodl_core.errors import AbsentError, GeodlError, InputError, UnavailableError

MOST_RUNS = 1_000
FORBIDDEN = 403
NOBODY = "nobody"
"""Scope of what is told to everybody, whatever is private."""
AFTER_ALL = "~"
"""Greater than any id."""
TIMES = ("created", "updated", "not_before")


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in."""

    tokens: Tokens
    """Returns what is known of tokens now."""
    is_private: bool = False
    """Whether reading needs a token, too."""


def list_runs(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Return a page of runs, those changed last first; `state`, `watch`, `limit` and `before` choose.

    `before` is a time, or a time and the id of the last run that was told: of runs that changed at the same time those
    with a greater id come after it.

    Raises:
        InputError: a state that there is not, or a limit that is no number.
    """
    state, watch = asked.query.get("state"), asked.query.get("watch")
    if state is not None and state not in STATES:
        raise InputError(f"state: expected one of {', '.join(STATES)}, found {state[:40]!r}")
    try:
        limit = min(MOST_RUNS, max(1, int(asked.query.get("limit", 100))))
        moment, _, last = asked.query.get("before", "").partition(",")
        edge = float(moment) if "before" in asked.query else None
    except ValueError as error:
        raise InputError("limit, before: expected numbers") from error
    if edge is not None and not math.isfinite(edge):
        raise InputError("before: expected a time, seconds since 1970")
    states: tuple[State, ...] = STATES if state is None else tuple(each for each in STATES if each == state)
    page = StatePage(limit + 1, is_newest_first=True, edge=edge, watch=watch)
    # Without an id nothing of that time comes after it.
    place = None if edge is None else (-edge, last or AFTER_ALL)
    found = [run for each in states for run in _newest(controls.deployment.ledger, each, page, place)]
    found.sort(key=_order)
    told: dict[str, Any] = {"runs": [run_facts(run) for run in found[:limit]]}
    if len(found) > limit:
        told["next"] = {"before": f"{found[limit - 1].updated!r},{found[limit - 1].id}"}
    return told


def _newest(ledger: DynamoLedger, state: State, page: StatePage, place: tuple[float, str] | None) -> Iterator[CloudRun]:
    """Yield runs of a state that come after a place, those changed last first, and all of the time of the last one.

    The index has runs of the same time in no order that is told.
    """
    found: list[CloudRun] = []
    for run in each_by_state(ledger, state, page):
        if len(found) >= page.limit and run.updated != found[-1].updated:
            return
        if place is None or _order(run) > place:
            found.append(run)
            yield run


def _order(run: CloudRun) -> tuple[float, str]:
    return -run.updated, run.id


def show_run(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Return a run.

    Raises:
        InputError: there is none.
    """
    return run_facts(_run(controls, asked))


def show_history(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Return what happened to a run, oldest first."""
    run = _run(controls, asked)
    lines = cloud_history(controls.deployment.ledger, run.id)
    return {"id": run.id, "events": [{**line, "at": stamp(float(line["at"]))} for line in lines]}


def retry(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Start a run that has ended once more; with `force`, also one that succeeded, to be computed anew.

    Raises:
        InputError: it has not ended, or it succeeded and is not forced.
        UnavailableError: it is queued, and starts with the next sweep.
    """
    is_forced = is_said(asked, "force")
    run = retry_cloud_run(controls.deployment.ledger, _run(controls, asked).id, is_forced=is_forced)
    start_run(controls.deployment, run)
    return run_facts(_run(controls, asked))


def cancel(controls: Controls, asked: Asked) -> dict[str, Any]:
    """Stop a run; one that has ended is left as it is."""
    return run_facts(cancel_cloud_run(controls.deployment, _run(controls, asked)))


def show_health(controls: Controls, _: Asked) -> dict[str, Any]:
    """Say that all is well, if the table answers."""
    revision_of_watches(controls.deployment.ledger)
    return {"status": "ok"}


Handler = Callable[[Controls, Asked], dict[str, Any]]
ROUTES: dict[tuple[str, str], tuple[Handler, str]] = {
    ("GET", "/runs"): (list_runs, "read"),
    ("GET", "/runs/<run_id>"): (show_run, "read"),
    ("GET", "/runs/<run_id>/history"): (show_history, "read"),
    ("POST", "/runs/<run_id>/retry"): (retry, "publish"),
    ("DELETE", "/runs/<run_id>"): (cancel, "publish"),
    ("GET", "/watches"): (list_watches, "read"),
    ("POST", "/watches"): (add_watch, "admin"),
    ("POST", "/watches/test"): (check_item, "read"),
    ("GET", "/watches/<name>"): (show_watch, "read"),
    ("PUT", "/watches/<name>"): (put_watch, "admin"),
    ("POST", "/watches/<name>/test"): (check_item, "read"),
    ("POST", "/watches/<name>/pause"): (pause_watch, "admin"),
    ("POST", "/watches/<name>/resume"): (resume_watch, "admin"),
    ("DELETE", "/watches/<name>"): (delete_watch, "admin"),
    ("POST", "/watches/<name>/scan"): (scan_for_watch, "admin"),
    ("POST", "/watches/<name>/backfill"): (backfill_watch, "admin"),
    ("GET", "/watches/<name>/backfills"): (show_backfills, "read"),
    ("GET", "/health"): (show_health, NOBODY),
}
"""Method and path → what answers, and the scope that it needs."""
STATUSES = {("POST", "/watches"): 201, ("DELETE", "/watches/<name>"): 204}
"""Of answers that are not simply 200."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    status: int
    body: str
    """JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)


NOWHERE = Reply(404, json.dumps({"code": "NotFound", "description": "there is no such route"}))
"""Of any other method and path."""


def answer(
    controls: Controls,
    door: Door,
    route: tuple[str, str],
    event: Mapping[str, Any],
    path: Mapping[str, str],
) -> Reply:
    """Answer a request of an HTTP API (payload format 2.0), if its token allows what it asks for.

    Reading needs none, unless it is private; where API Gateway itself has authorised a request, which it says in the
    event, that holds.

    Args:
        controls: of the deployment.
        door: who is let in.
        route: one of `ROUTES`.
        event: of the gateway.
        path: what stands in the path, by name.
    """
    handle, needed = ROUTES[route]
    try:
        is_open = needed == NOBODY or (needed == "read" and not door.is_private)
        refusal = None if is_open else judge(door.tokens, event, event.get("headers") or {}, needed)
        if refusal is not None:
            code = "Forbidden" if refusal.status == FORBIDDEN else "Unauthorized"
            return replace(_reply(refusal.status, {"code": code, "description": refusal.text}), headers=refusal.headers)
        asked = Asked(path, event.get("queryStringParameters") or {}, _body(event))
        return _reply(STATUSES.get(route, 200), handle(controls, asked))
    except AbsentError as error:
        return _reply(404, {"code": type(error).__name__, "description": _said(error)})
    except InputError as error:
        return _reply(400, {"code": type(error).__name__, "description": _said(error)})
    except UnavailableError as error:
        return _reply(503, {"code": type(error).__name__, "description": _said(error)})
    except GeodlError as error:
        # A fault of the deployment, as a role that lacks a permission.
        return _reply(500, {"code": type(error).__name__, "description": _said(error)})


def _body(event: Mapping[str, Any]) -> Any:
    text = event.get("body")
    if not text:
        return None
    try:
        return json.loads(base64.b64decode(text) if event.get("isBase64Encoded") else text)
    except (ValueError, RecursionError) as error:
        raise InputError("body: expected JSON, found other text") from error


def _reply(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, json.dumps(document, ensure_ascii=False) if document else "")


def _said(error: GeodlError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"


def run_facts(run: CloudRun) -> dict[str, Any]:
    """Return a run for JSON."""
    told = {name: value for name, value in asdict(run).items() if name not in ("item_collection", "item_id")}
    times = {name: stamp(getattr(run, name)) for name in TIMES}
    return {**told, **times, "item": {"collection": run.item_collection, "id": run.item_id}}


def _run(controls: Controls, asked: Asked) -> CloudRun:
    run_id = asked.path["run_id"]
    run = read_run(controls.deployment.ledger, run_id)
    if run is None:
        raise AbsentError(f"no run {run_id[:64]}", hint="an id is whole here: 64 characters")
    return run

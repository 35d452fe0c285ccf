"""Runs and watches over HTTP: looked at, retried, cancelled, kept; as a function answers behind an HTTP API."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from geodl_core.domain.run.state import FINAL, STATES, State
from geodl_core.domain.scan.windows import stamp
from geodl_core.domain.watch.filters import read_filter
from geodl_core.domain.watch.watch import read_watch, watch_json
from geodl_core.errors import GeodlError, InputError, UnavailableError
from geodl_core.service.access.scopes import granted
from geodl_core.service.aws.executions import Deployment, start_run, stop_run
from geodl_core.service.aws.ledger import (
    CloudRun,
    StatePage,
    cloud_history,
    list_by_state,
    move_run,
    read_run,
    retry_cloud_run,
)
from geodl_core.service.aws.model_index import resolve_model
from geodl_core.service.aws.secrets import KnownToken, bearer_of, find_known_token
from geodl_core.service.aws.watches import (
    CloudWatch,
    list_cloud_watches,
    pause_cloud_watch,
    put_cloud_watch,
    read_cloud_watch,
    read_remark,
    remove_cloud_watch,
)

MOST_RUNS = 1_000
TIMES = ("created", "updated", "not_before")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as it matters."""

    path: Mapping[str, str]
    """What stands in the path, by name."""
    query: Mapping[str, str]
    body: Any = None


def list_runs(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Return a page of runs, those changed last first; `state`, `watch`, `limit` and `before` choose.

    Raises:
        InputError: a state that there is not, or a limit that is no number.
    """
    state, watch = asked.query.get("state"), asked.query.get("watch")
    if state is not None and state not in STATES:
        raise InputError(f"state: expected one of {', '.join(STATES)}, found {state[:40]!r}")
    try:
        limit = min(MOST_RUNS, max(1, int(asked.query.get("limit", 100))))
        before = float(asked.query["before"]) if "before" in asked.query else None
    except ValueError as error:
        raise InputError("limit, before: expected numbers") from error
    states: tuple[State, ...] = STATES if state is None else tuple(each for each in STATES if each == state)
    page = StatePage(limit + 1, is_newest_first=True, edge=before, watch=watch)
    found = [run for each in states for run in list_by_state(deployment.ledger, each, page)]
    found.sort(key=lambda run: (-run.updated, run.id))
    told: dict[str, Any] = {"runs": [run_facts(run) for run in found[:limit]]}
    if len(found) > limit:
        told["next"] = {"before": repr(found[limit - 1].updated)}
    return told


def show_run(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Return a run.

    Raises:
        InputError: there is none.
    """
    return run_facts(_run(deployment, asked))


def show_history(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Return what happened to a run, oldest first."""
    run = _run(deployment, asked)
    lines = cloud_history(deployment.ledger, run.id)
    return {"id": run.id, "events": [{**line, "at": stamp(float(line["at"]))} for line in lines]}


def retry(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Start a run that has ended once more; with `force`, also one that succeeded, to be computed anew.

    Raises:
        InputError: it has not ended, or it succeeded and is not forced.
        UnavailableError: it is queued, and starts with the next sweep.
    """
    is_forced = str(asked.query.get("force", "")).lower() in ("1", "true", "yes")
    run = retry_cloud_run(deployment.ledger, _run(deployment, asked).id, is_forced=is_forced)
    start_run(deployment, run)
    return run_facts(_run(deployment, asked))


def cancel(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Stop a run; one that has ended is left as it is."""
    run = _run(deployment, asked)
    if run.state not in FINAL:
        # First: what the execution tells when it is stopped is no failure then.
        run = move_run(deployment.ledger, run.id, "cancelled", "cancelled")
        stop_run(deployment, run, "cancelled")
    return run_facts(run)


def list_watches(deployment: Deployment, _: Asked) -> dict[str, Any]:
    """Return all watches."""
    return {"watches": [watch_facts(kept) for kept in list_cloud_watches(deployment.ledger)]}


def show_watch(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Return a watch, and what it passed over last."""
    kept = read_cloud_watch(deployment.ledger, asked.path["name"])
    return {**watch_facts(kept), "remark": read_remark(deployment.ledger, kept.watch.name)}


def put_watch(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Keep the watch in the body, in place of one of the same name.

    Raises:
        InputError: it cannot be read, its filter is none, or its name is not that of the address.
        ModelError: its model is not registered.
    """
    watch = read_watch(asked.body, "watch")
    if watch.name != asked.path["name"]:
        raise InputError(f"watch: expected the name of the address, {asked.path['name']!r}, found {watch.name!r}")
    if watch.filter is not None:
        read_filter(watch.filter, f"watch {watch.name}: filter")
    resolve_model(deployment.s3, deployment.bucket, watch.model)
    return watch_facts(put_cloud_watch(deployment.ledger, watch, replaces=True))


def pause_watch(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Pause a watch; with `paused=false` let it go on."""
    is_paused = str(asked.query.get("paused", "true")).lower() not in ("0", "false", "no")
    return watch_facts(pause_cloud_watch(deployment.ledger, asked.path["name"], is_paused=is_paused))


def delete_watch(deployment: Deployment, asked: Asked) -> dict[str, Any]:
    """Forget a watch."""
    remove_cloud_watch(deployment.ledger, asked.path["name"])
    return {"removed": asked.path["name"]}


Handler = Callable[[Deployment, Asked], dict[str, Any]]
ROUTES: dict[tuple[str, str], tuple[Handler, str]] = {
    ("GET", "/runs"): (list_runs, "read"),
    ("GET", "/runs/<run_id>"): (show_run, "read"),
    ("GET", "/runs/<run_id>/history"): (show_history, "read"),
    ("POST", "/runs/<run_id>/retry"): (retry, "publish"),
    ("DELETE", "/runs/<run_id>"): (cancel, "publish"),
    ("GET", "/watches"): (list_watches, "read"),
    ("GET", "/watches/<name>"): (show_watch, "read"),
    ("PUT", "/watches/<name>"): (put_watch, "admin"),
    ("POST", "/watches/<name>/pause"): (pause_watch, "admin"),
    ("DELETE", "/watches/<name>"): (delete_watch, "admin"),
}
"""Method and path → what answers, and the scope that it needs."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    status: int
    body: str
    """JSON."""


def answer(
    deployment: Deployment,
    tokens: Callable[[], tuple[KnownToken, ...]],
    route: tuple[str, str],
    event: Mapping[str, Any],
    path: Mapping[str, str],
) -> Reply:
    """Answer a request of an HTTP API (payload format 2.0), if its token allows what it asks for.

    Reading needs none; where API Gateway itself has authorised a request, which it says in the event, that holds.

    Args:
        deployment: bucket, ledger, state machine.
        tokens: returns what is known of tokens now.
        route: one of `ROUTES`.
        event: of the gateway.
        path: what stands in the path, by name.
    """
    handle, needed = ROUTES[route]
    try:
        refusal = None if needed == "read" else _refusal(tokens, event, needed)
        if refusal is not None:
            return refusal
        asked = Asked(path, event.get("queryStringParameters") or {}, _body(event))
        return _reply(200, handle(deployment, asked))
    except InputError as error:
        is_absent = error.message.startswith("no ")
        return _reply(404 if is_absent else 400, {"code": type(error).__name__, "description": _said(error)})
    except UnavailableError as error:
        return _reply(503, {"code": type(error).__name__, "description": _said(error)})


def _refusal(tokens: Callable[[], tuple[KnownToken, ...]], event: Mapping[str, Any], needed: str) -> Reply | None:
    if (event.get("requestContext") or {}).get("authorizer"):
        return None
    text = bearer_of(event.get("headers") or {})
    found = None if text is None else find_known_token(tokens(), text)
    if found is None:
        return _reply(
            401, {"code": "Unauthorized", "description": "expected a known token in the header Authorization"}
        )
    if needed not in granted(found.scopes):
        return _reply(403, {"code": "Forbidden", "description": f"the token lacks the scope {needed}"})
    return None


def _body(event: Mapping[str, Any]) -> Any:
    text = event.get("body")
    if not text:
        return None
    try:
        return json.loads(base64.b64decode(text) if event.get("isBase64Encoded") else text)
    except (ValueError, RecursionError) as error:
        raise InputError("body: expected JSON, found other text") from error


def _reply(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, json.dumps(document, ensure_ascii=False))


def _said(error: GeodlError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"


def run_facts(run: CloudRun) -> dict[str, Any]:
    """Return a run for JSON."""
    told = {name: value for name, value in asdict(run).items() if name not in ("item_collection", "item_id")}
    times = {name: stamp(getattr(run, name)) for name in TIMES}
    return {**told, **times, "item": {"collection": run.item_collection, "id": run.item_id}}


def watch_facts(kept: CloudWatch) -> dict[str, Any]:
    """Return a watch for JSON."""
    times = {"created": stamp(kept.created), "updated": stamp(kept.updated)}
    return {"name": kept.watch.name, "is_paused": kept.is_paused, **times, "document": watch_json(kept.watch)}


def _run(deployment: Deployment, asked: Asked) -> CloudRun:
    run_id = asked.path["run_id"]
    run = read_run(deployment.ledger, run_id)
    if run is None:
        raise InputError(f"no run {run_id[:64]}", hint="an id is whole here: 64 characters")
    return run

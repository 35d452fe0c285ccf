"""Runs of a deployment as `geodl runs` reaches them: see `service.runs.access.Runs`.

The index of the ledger is by the time of the last change, so lists have the run changed last first, not the one ordered
last. What a row of the ledger does not have is None in a list: `options`, `collection`, `depth`, `started`, and
`tiles_done` of a run that has not succeeded.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from geodl_core.aws.ledger.found_runs import find_run
from geodl_core.aws.ledger.ledger import (
    PAGE,
    CloudRun,
    DynamoLedger,
    StatePage,
    cloud_history,
    each_by_state,
    retry_cloud_run,
)
from geodl_core.aws.ledger.orders import find_kept_order
from geodl_core.aws.site.cancel_run import cancel_cloud_run
from geodl_core.aws.site.executions import Deployment, start_run
from geodl_core.domain.run.options import options_json
from geodl_core.domain.run.order import Order
from geodl_core.domain.run.state import FINAL, STATES
from geodl_core.errors import GeodlError, UnavailableError
from geodl_core.service.ledger.runs import RunFilter
from geodl_core.service.runs.access import RunPage
from geodl_core.service.runs.facts import NUMBERS, SAME, TIMES, stamp


@dataclass(frozen=True, slots=True)
class StackRuns:
    """Runs of a deployment on AWS."""

    deployment: Deployment

    def page(self, asked: RunFilter) -> RunPage:
        """Return a page of runs, those changed last first; of a watch those that it ordered first.

        Assumes a question of the command line: other members of it than its options are not looked at.
        """
        found = list(islice(_each(self.deployment.ledger, asked), asked.limit + 1))
        kept = found[: asked.limit]
        following = (kept[-1].updated, kept[-1].id) if len(found) > asked.limit else None
        return RunPage([stack_run_facts(run) for run in kept], following)

    def read(self, run_id: str) -> dict[str, Any]:
        """Return a run, with what its order and its history tell of it."""
        run = self._find(run_id)
        order = None
        # Without leave to read the bucket, the rest is told.
        with suppress(GeodlError):
            order = find_kept_order(self.deployment.s3, self.deployment.bucket, run.id)
        return {**stack_run_facts(run, order), "started": stamp(_started(run, self._events(run.id)))}

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """Return what happened to a run, oldest first."""
        run = self._find(run_id)
        return [
            {
                "seq": seq,
                "run_id": run.id,
                "at": stamp(float(event["at"])),
                "attempt": event["attempt"],
                "state": event["state"],
                "worker": None,
                "text": event["text"],
            }
            for seq, event in enumerate(self._events(run.id), 1)
        ]

    def retry(self, run_id: str) -> dict[str, Any]:
        """Queue a run that failed, and start it."""
        return self._again(run_id, is_forced=False)

    def rerun(self, run_id: str) -> dict[str, Any]:
        """Queue a run that ended, to be computed anew, and start it."""
        return self._again(run_id, is_forced=True)

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Stop a run."""
        return stack_run_facts(cancel_cloud_run(self.deployment, self._find(run_id)))

    def _again(self, run_id: str, *, is_forced: bool) -> dict[str, Any]:
        queued = retry_cloud_run(self.deployment.ledger, self._find(run_id).id, is_forced=is_forced)
        # The sweep starts what is queued within minutes.
        with suppress(UnavailableError):
            start_run(self.deployment, queued)
        return stack_run_facts(queued)

    def _find(self, run_id: str) -> CloudRun:
        return find_run(self.deployment.ledger, run_id)

    def _events(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        return cloud_history(self.deployment.ledger, run_id)


def stack_run_facts(run: CloudRun, order: Order | None = None) -> dict[str, Any]:
    """Return what is known of a run, for JSON, in the form of `service.runs.facts.run_facts`.

    Args:
        run: as the ledger has it.
        order: that it was made of, where that was looked up.
    """
    numbers = {name: getattr(run, name, None) for name in NUMBERS}
    if run.state == "succeeded" or not run.tiles:
        numbers["tiles_done"] = run.tiles
    times = {name: stamp(getattr(run, name, None)) for name in TIMES}
    if run.state in FINAL:
        times["finished"] = times["updated"]
    told = {} if order is None else {"collection": order.collection, "depth": order.depth}
    return {
        **{name: getattr(run, name, None) for name in SAME},
        **told,
        "item": {"collection": run.item_collection, "id": run.item_id},
        "options": None if order is None else options_json(order.options),
        **numbers,
        **times,
        "result": None if run.result is None else dict(run.result),
        "error": None if run.error is None else dict(run.error),
    }


def _each(ledger: DynamoLedger, asked: RunFilter) -> Iterator[CloudRun]:
    """Yield the runs that are asked for, from `before` on, those changed last first."""
    edge, last = asked.before if asked.before is not None else (None, "")
    is_passing_over = asked.model is not None or asked.item is not None
    page = StatePage(PAGE if is_passing_over else asked.limit + 1, is_newest_first=True, edge=edge, watch=asked.watch)
    states = [state for state in STATES if not asked.states or state in asked.states]
    seen: set[str] = set()
    for run in heapq.merge(*(_in_order(each_by_state(ledger, state, page)) for state in states), key=_place):
        if asked.since is not None and run.updated < asked.since:
            return
        is_new = edge is None or _place(run) > (-edge, last)
        # One that came into another state between two requests is in both.
        if is_new and _is_meant(asked, run) and run.id not in seen:
            seen.add(run.id)
            yield run


def _in_order(runs: Iterable[CloudRun]) -> Iterator[CloudRun]:
    """Yield runs with those of the same time by their ids: the index has these in no order that is told."""
    for _, same in groupby(runs, key=lambda run: run.updated):
        yield from sorted(same, key=_place)


def _place(run: CloudRun) -> tuple[float, str]:
    return -run.updated, run.id


def _is_meant(asked: RunFilter, run: CloudRun) -> bool:
    if asked.item is not None and asked.item != (run.item_collection, run.item_id):
        return False
    if asked.model is None:
        return True
    names = (asked.model,) if isinstance(asked.model, str) else asked.model
    return any(run.model == name or run.model.startswith(f"{name}@") for name in names)


def _started(run: CloudRun, events: Iterable[Mapping[str, Any]]) -> float | None:
    """Return when the attempt that a run is in was started, seconds since 1970."""
    times = (event["at"] for event in events if event["state"] == "claimed" and event["attempt"] == run.attempt)
    return next((float(at) for at in times), None)

"""A worker: asks for work, does it, says what became of it, until it is told to stop."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime

from geodl_core.domain.place.href import scrub
from geodl_core.domain.run.state import is_transient, state_after
from geodl_core.engine.plan_files import OpenPlan
from geodl_core.engine.run_tasks import Listener
from geodl_core.errors import GeodlError, OutOfMemoryError, UnavailableError
from geodl_core.service.ledger.leases import Failure, Work
from geodl_core.service.ledger.runs import Run
from geodl_core.service.workers.heart import Heart, WorkStoppedError
from geodl_core.service.workers.queue import Queue
from geodl_core.service.workers.steps import Site, clear_up, finish_run, is_work_lost, open_place, plan_run, run_shards

LOG = logging.getLogger("geodl.work")
LONGEST_SILENCE_S = 30.0
"""Between two tries to reach a ledger that does not answer."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How a worker works."""

    site: Site
    now: Callable[[], datetime]
    idle_s: float = 0.2
    """Between two questions for work where there is none."""
    ends_when_idle: bool = False
    """Return as soon as there is nothing to do."""


def work_on(queue: Queue, shift: Shift, stop: threading.Event) -> int:
    """Do work until told to stop; return how many pieces were done.

    A ledger that does not answer is asked again, less and less often; what fails is told to it and never ends the
    worker.
    """
    count, silence_s = 0, shift.idle_s
    with PlanCache() as plans:
        while not stop.is_set():
            try:
                work = queue.lease()
                silence_s = shift.idle_s
            except UnavailableError as error:
                LOG.warning(error.message)
                stop.wait(silence_s)
                silence_s = min(2 * silence_s, LONGEST_SILENCE_S)
                continue
            if work is not None:
                _attend(queue, work, (shift, plans), stop)
                count += 1
            elif shift.ends_when_idle:
                break
            else:
                stop.wait(shift.idle_s)
    return count


class PlanCache:
    """Keeps the plan read last open, with its model, since a worker is often lent shards of one run; a context manager.

    A plan that was made anew under the same place has another attempt.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._key: tuple[object, ...] | None = None
        self._plan: OpenPlan | None = None

    def __enter__(self) -> "PlanCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the plan."""
        self._key = self._plan = None
        self._open.close()

    def get(self, run: Run) -> OpenPlan:
        """Return the plan of a run, open.

        Raises:
            GeodlError: as `opened_plan`.
        """
        key = run.id, run.attempt, run.place
        if self._plan is None or key != self._key:
            self.close()
            self._plan = self._open.enter_context(open_place(run))
            self._key = key
        return self._plan


def _attend(queue: Queue, work: Work, means: tuple[Shift, PlanCache], stop: threading.Event) -> None:
    """Do one piece of work, and tell how it ended; whatever goes wrong stays with its run."""
    facts = {"run": work.run.id, "kind": work.kind, "numbers": len(work.numbers)}
    LOG.info("work begins", extra={"facts": facts})
    try:
        with Heart(queue, work, stop) as heart:
            try:
                _do(queue, work, means, heart)
            except WorkStoppedError:
                if not heart.is_lost:
                    queue.hand_back(work.lease, "handed back: the worker was told to stop")
            except GeodlError as error:
                _report((queue, heart), work, _failure(work, error))
            except MemoryError:
                _report((queue, heart), work, _failure(work, OutOfMemoryError("out of memory")))
            except Exception as error:  # the adapter: a fault of ours must end neither worker nor server
                LOG.exception("unexpected", extra={"facts": facts})
                reason = f"unexpected: {type(error).__name__}: {scrub(str(error))[:300]}"
                _report(
                    (queue, heart),
                    work,
                    Failure(type(error).__name__, reason, None, is_transient=False, state="failed"),
                )
    except UnavailableError as error:
        # The ledger does not hear it: the lease ends by itself, and the next worker finds the parts that are there.
        LOG.warning(error.message, extra={"facts": facts})
    LOG.info("work ends", extra={"facts": facts})


def _do(queue: Queue, work: Work, means: tuple[Shift, PlanCache], heart: Heart) -> None:
    shift, plans = means
    site = shift.site
    if work.kind == "plan":
        _plan(queue, work, site, heart)
    elif work.kind == "shard":
        listener = Listener(heart.add_tiles, heart.note)
        run_shards(work, site, plans.get(work.run), listener)
        heart.flush()
        queue.shards_done(work.lease)
    else:
        item = finish_run(work, site, shift.now, heart.confirm)
        heart.flush()
        text = f"registered {item['collection']}/{item['id']}"
        if queue.finished(work.lease, (str(item["collection"]), str(item["id"])), None, text):
            plans.close()
            clear_up(work.run)


def _plan(queue: Queue, work: Work, site: Site, heart: Heart) -> None:
    outcome = plan_run(work, site, heart.confirm)
    heart.check()
    if outcome.result is None:
        for text in outcome.notes:
            heart.note(text)
        heart.flush()
        queue.planned(work.lease, outcome.facts)
        return
    ids = str(outcome.result["collection"]), str(outcome.result["id"])
    queue.finished(work.lease, ids, outcome.facts, f"found {ids[0]}/{ids[1]}, computed before")


def _report(told: tuple[Queue, Heart], work: Work, failure: Failure) -> None:
    queue, heart = told
    facts = {"run": work.run.id, "kind": work.kind, "error": failure.kind, "message": failure.message}
    LOG.warning("work failed", extra={"facts": facts})
    heart.note(failure.message, "error")
    with suppress(UnavailableError):
        heart.flush()
    queue.failed(work.lease, failure)


def _failure(work: Work, error: GeodlError) -> Failure:
    hint = None if error.hint is None else scrub(error.hint)
    is_lost = is_work_lost(work, error)
    # That it is gone says nothing against what was ordered.
    state = "failed" if is_lost else state_after(error)
    return Failure(type(error).__name__, scrub(error.message), hint, is_transient(error), state, is_lost)

"""Runs as the command line reaches them: in a ledger on this machine, over the API of a server, of a deployment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from geodl_core.domain.watch.filters import Filter
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import log_lines
from geodl_core.service.ledger.runs import Run, RunFilter, cancel_run, history, list_runs, read_run, retry_run
from geodl_core.service.runs.facts import event_facts, is_chosen, line_facts, run_facts

PAGE = 200
MOST_LINES = 100_000


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some of a list of runs."""

    runs: list[dict[str, Any]]
    next: tuple[float, str] | None
    """`RunFilter.before` of the next page, None after the last one; what its time is of is for who made the page."""


class Runs(Protocol):
    """Runs, as documents of `service.runs.facts`. An id may be its first eight characters.

    Methods raise InputError where there is no such run, or where it is in no state for what is asked.
    """

    def page(self, asked: RunFilter) -> RunPage:
        """Return a page of runs, newest first."""
        ...

    def read(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        ...

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """Return what happened to a run."""
        ...

    def retry(self, run_id: str) -> dict[str, Any]:
        """Queue a run that failed."""
        ...

    def rerun(self, run_id: str) -> dict[str, Any]:
        """Queue a run that ended, to be computed anew."""
        ...

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Stop a run."""
        ...


class LoggedRuns(Runs, Protocol):
    """Runs that keep what their workers said."""

    def logs(self, run_id: str, after: int) -> list[dict[str, Any]]:
        """Return the lines of a run's log behind a `seq`."""
        ...


@dataclass(frozen=True, slots=True)
class LocalRuns:
    """Runs of a ledger on this machine."""

    ledger: Ledger

    def page(self, asked: RunFilter) -> RunPage:
        """See `Runs`, here and below."""
        return page_of(list_runs(self.ledger, replace(asked, limit=asked.limit + 1)), asked.limit)

    def read(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return run_facts(read_run(self.ledger, run_id))

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """Return what happened to a run."""
        run = read_run(self.ledger, run_id)
        return [event_facts(event) for event in history(self.ledger, run.id, limit=MOST_LINES)]

    def logs(self, run_id: str, after: int) -> list[dict[str, Any]]:
        """Return the lines of a run's log behind a `seq`."""
        run = read_run(self.ledger, run_id)
        return [line_facts(line) for line in log_lines(self.ledger, run.id, after)]

    def retry(self, run_id: str) -> dict[str, Any]:
        """Queue a run that failed."""
        return run_facts(retry_run(self.ledger, run_id))

    def rerun(self, run_id: str) -> dict[str, Any]:
        """Queue a run that ended, to be computed anew."""
        return run_facts(retry_run(self.ledger, run_id, is_forced=True))

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Stop a run."""
        return run_facts(cancel_run(self.ledger, run_id))


def page_of(found: Sequence[Run], limit: int) -> RunPage:
    """Return a page of runs, of which one more than `limit` was asked for."""
    kept = found[:limit]
    following = (kept[-1].created, kept[-1].id) if len(found) > limit else None
    return RunPage([run_facts(run) for run in kept], following)


def chosen_runs(runs: Runs, asked: RunFilter, choice: Filter | None) -> Iterator[dict[str, Any]]:
    """Yield the runs that a question and a filter mean, newest first; `asked.limit` of them at most, 0: all."""
    given, before = 0, asked.before
    while True:
        page = runs.page(replace(asked, limit=PAGE, before=before))
        for facts in page.runs:
            if choice is None or is_chosen(choice, facts):
                yield facts
                given += 1
                if given == asked.limit:
                    return
        if page.next is None:
            return
        before = page.next

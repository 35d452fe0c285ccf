"""Runs over the API of a `geodl serve` (OGC API – Processes, with geodl's own facts in each job)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

import requests

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import CatalogError, InputError
from geodl_core.service.ledger.runs import RunFilter
from geodl_core.service.runs.access import RunPage
from geodl_core.service.runs.address import server_session
from geodl_core.service.runs.facts import stamp

TIMEOUT_S = (10, 60)
"""To connect, and between two bytes."""
MOST_BYTES = 64 << 20
FACTS = "geodl"
"""Member of a job that has the facts of its run."""


class RemoteRuns:
    """Runs of a server; see `service.runs.access.Runs`. A context manager.

    Args:
        server: its address.
        token: of the scope `read`, or `publish` to change anything; None for a server that asks for none.

    Raises:
        InputError: the address is none, or would carry the token in the clear.
    """

    def __init__(self, server: str, token: str | None = None) -> None:
        self._base, self._session = server_session(server, token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def page(self, asked: RunFilter) -> RunPage:
        """Return a page of runs, newest first."""
        found = self._ask("GET", "jobs", _query(asked))
        return RunPage([_facts(job) for job in found["jobs"]], _next(found))

    def read(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return _facts(self._ask("GET", _path(run_id)))

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """Return what happened to a run."""
        return list(self._ask("GET", _path(run_id, "history"))["events"])

    def logs(self, run_id: str, after: int) -> list[dict[str, Any]]:
        """Return the lines of a run's log behind a `seq`."""
        return list(self._ask("GET", _path(run_id, "logs"), {"after": str(after)})["lines"])

    def retry(self, run_id: str) -> dict[str, Any]:
        """Queue a run that failed."""
        return _facts(self._ask("POST", _path(run_id, "retry")))

    def rerun(self, run_id: str) -> dict[str, Any]:
        """Queue a run that ended, to be computed anew."""
        return _facts(self._ask("POST", _path(run_id, "rerun")))

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Stop a run."""
        return _facts(self._ask("DELETE", _path(run_id)))

    def _ask(self, method: str, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
        url, where = f"{self._base}/{path}", f"{hide_secrets(self._base)}/{path}"
        with self._answered(method, url, query, where) as answer:
            content = bytearray()
            for chunk in answer.iter_content(1 << 16):
                content += chunk
                if len(content) > MOST_BYTES:
                    raise InputError(f"{where}: expected {MOST_BYTES >> 20} MB at most, found more")
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise CatalogError(f"{where}: the server answered {answer.status_code}", hint="try again later")
        if answer.status_code in (401, 403):
            raise InputError(f"{where}: refused ({answer.status_code})", hint="--token gives a token that may do it")
        if answer.status_code >= 400:
            told = found.get("detail") or found.get("description") if isinstance(found, dict) else None
            raise InputError(str(told or f"{where}: the server answered {answer.status_code}")[:1_000])
        if not isinstance(found, dict):
            raise InputError(f"{where}: expected a server of geodl, found another ({answer.status_code})")
        return found

    @contextmanager
    def _answered(self, method: str, url: str, query: dict[str, Any] | None, where: str) -> Iterator[requests.Response]:
        try:
            with self._session.request(
                method, url, params=query, timeout=TIMEOUT_S, allow_redirects=False, stream=True
            ) as answer:
                yield answer
        except requests.RequestException as error:
            raise CatalogError(f"{where}: the server does not answer ({type(error).__name__})") from error


def _path(run_id: str, what: str | None = None) -> str:
    return "/".join(["jobs", quote(run_id, safe=""), *([what] if what else [])])


def _query(asked: RunFilter) -> dict[str, Any]:
    models = asked.model if isinstance(asked.model, tuple) else (asked.model,) if asked.model else ()
    query: dict[str, Any] = {"limit": str(asked.limit), "state": list(asked.states), "processID": list(models)}
    if asked.watch is not None:
        query["watch"] = asked.watch
    if asked.item is not None:
        query["item"] = "/".join(filter(None, asked.item))
    if asked.since is not None:
        query["since"] = stamp(asked.since)
    if asked.before is not None:
        query["before"] = before_text(asked.before)
    return query


def before_text(place: tuple[float, str]) -> str:
    """Return where a page ends, as a parameter of an address."""
    return f"{place[0]!r},{place[1]}"


def read_before(text: str) -> tuple[float, str]:
    """Return where a page ends.

    Raises:
        InputError: it was not made by `before_text`.
    """
    created, _, run_id = text.partition(",")
    try:
        return float(created), run_id
    except ValueError as error:
        raise InputError("before: expected what a `next` link has, found other text") from error


def _facts(job: Any) -> dict[str, Any]:
    facts = job.get(FACTS) if isinstance(job, dict) else None
    if not isinstance(facts, dict):
        raise InputError("expected a server of geodl, found jobs of another")
    return facts


def _next(found: dict[str, Any]) -> tuple[float, str] | None:
    for link in found.get("links", ()):
        if link.get("rel") == "next":
            before = parse_qs(urlsplit(str(link.get("href"))).query).get("before")
            return read_before(before[0]) if before else None
    return None

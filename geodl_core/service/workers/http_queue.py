"""Work from a server on another machine."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import requests

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import CatalogError, InputError
from geodl_core.service.ledger.leases import Failure, Planned, Work
from geodl_core.service.runs.address import server_session
from geodl_core.service.workers.messages import failure_json, read_work

TIMEOUT_S = (10, 60)
"""To connect, and between two bytes."""
MOST_BYTES = 1 << 20


class HttpQueue:
    """Work that a `geodl serve --store` lends: shards alone. A context manager.

    Args:
        server: its address.
        token: of the scope `worker`; None for a server that asks for none.
        crew: name of the worker, and how many shards of one run it takes at a time.

    Raises:
        InputError: the address is none, or would carry the token in the clear.
    """

    def __init__(self, server: str, token: str | None, crew: tuple[str, int]) -> None:
        self._base, self._session = server_session(server, token)
        self._name, self._most = crew
        self._session.max_redirects = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def lease(self) -> Work | None:
        """Return shards to compute, None where there are none."""
        found = self._post("", {"worker": self._name, "most_shards": self._most})
        return None if found is None else read_work(found, self._base)

    def beat(self, lease: str, tiles: int, lines: Sequence[tuple[str, str]]) -> bool:
        """Keep a lease."""
        return self._tell(lease, "beat", {"tiles": tiles, "lines": [list(line) for line in lines]})

    def planned(self, lease: str, found: Planned) -> bool:
        """Never lent."""
        raise InputError(f"{self._base}: expected shards alone, found a plan for {lease[:4]}: {found}")

    def finished(self, lease: str, result: tuple[str, str], facts: Planned | None, text: str) -> bool:
        """Never lent."""
        raise InputError(
            f"{self._base}: expected shards alone, found a run's end for {lease[:4]}: {result[1]} ({facts}, {text})"
        )

    def shards_done(self, lease: str) -> bool:
        """Tell that all shards of a lease have their parts."""
        return self._tell(lease, "done", {})

    def failed(self, lease: str, failure: Failure) -> bool:
        """Tell what went wrong."""
        return self._tell(lease, "failed", failure_json(failure))

    def hand_back(self, lease: str, text: str) -> None:
        """Give work back that was not finished."""
        self._tell(lease, "hand-back", {"text": text})

    def _tell(self, lease: str, what: str, body: dict[str, Any]) -> bool:
        found = self._post(f"/{lease}/{what}", body)
        return bool(found and found.get("is_mine"))

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        where = f"{hide_secrets(self._base)}/work"
        try:
            answer = self._session.post(
                f"{self._base}/leases{path}", json=body, timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as error:
            raise CatalogError(f"{where}: the server does not answer ({type(error).__name__})") from error
        if answer.status_code == 204:
            return None
        if answer.status_code in (401, 403):
            raise InputError(f"{where}: refused ({answer.status_code})", hint="GEODL_TOKEN: a token of scope worker")
        if answer.status_code >= 500 or answer.status_code == 429:
            raise CatalogError(f"{where}: the server answered {answer.status_code}")
        if answer.status_code != 200 or len(answer.content) > MOST_BYTES:
            raise InputError(f"{where}: expected work, found an answer {answer.status_code}: {answer.text[:200]}")
        try:
            found = answer.json()
        except ValueError as error:
            raise InputError(f"{where}: expected JSON, found other text") from error
        if not isinstance(found, dict):
            raise InputError(f"{where}: expected a JSON object, found {type(found).__name__}")
        return found

"""Where a worker gets its work and says what became of it: the ledger itself, or a server in front of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from geodl_core.service.ledger import leases
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import Crew, Failure, Planned, Work


class Queue(Protocol):
    """Lends work. A call that answers False says that the work is no longer this worker's."""

    def lease(self) -> Work | None:
        """Return something to do, None where there is nothing."""
        ...

    def beat(self, lease: str, tiles: int, lines: Sequence[tuple[str, str]]) -> bool:
        """Keep a lease; tell how many tiles were finished since, and (level, text) for the log."""
        ...

    def planned(self, lease: str, found: Planned) -> bool:
        """Tell what planning found out."""
        ...

    def shards_done(self, lease: str) -> bool:
        """Tell that all shards of a lease have their parts."""
        ...

    def finished(self, lease: str, result: tuple[str, str], facts: Planned | None, text: str) -> bool:
        """Tell that the result is registered, under these ids of a Collection and an Item."""
        ...

    def failed(self, lease: str, failure: Failure) -> bool:
        """Tell what went wrong."""
        ...

    def hand_back(self, lease: str, text: str) -> None:
        """Give work back that was not finished."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerQueue:
    """The ledger itself, for workers on a machine that reaches the database."""

    ledger: Ledger
    crew: Crew

    def lease(self) -> Work | None:
        """Return something to do; see `ledger.leases`, here and below."""
        return leases.lease_work(self.ledger, self.crew)

    def beat(self, lease: str, tiles: int, lines: Sequence[tuple[str, str]]) -> bool:
        """Keep a lease."""
        return leases.beat(self.ledger, lease, tiles, lines)

    def planned(self, lease: str, found: Planned) -> bool:
        """Tell what planning found out."""
        return leases.planned(self.ledger, lease, found)

    def shards_done(self, lease: str) -> bool:
        """Tell that all shards of a lease have their parts."""
        return leases.shards_done(self.ledger, lease)

    def finished(self, lease: str, result: tuple[str, str], facts: Planned | None, text: str) -> bool:
        """Tell that the result is registered."""
        return leases.finished(self.ledger, lease, result, facts, text)

    def failed(self, lease: str, failure: Failure) -> bool:
        """Tell what went wrong."""
        return leases.failed(self.ledger, lease, failure)

    def hand_back(self, lease: str, text: str) -> None:
        """Give work back that was not finished."""
        leases.hand_back(self.ledger, lease, text)

"""Who may run next: jobs wait for the vCPUs and GPUs that this machine lends, best rank first.

Ranks follow Batch's guide: a queue of higher priority first; in a queue with a scheduling policy the share that uses
least for its weight, then the higher scheduling priority; then the order of arrival.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ticket:
    """A job that waits for its slots."""

    number: int
    """Order of arrival; an attempt that is repeated keeps it."""
    queue: str
    queue_priority: int
    vcpus: int
    gpus: int
    start: Callable[[], None]
    """Called once when the slots are the job's; returns at once."""
    share: str | None = None
    """Fair share's identifier; None in a queue without a scheduling policy."""
    weight: float = 1.0
    """A share of weight 0.25 may use four times as much as one of weight 1."""
    scheduling_priority: int = 0


class Slots:
    """The machine's vCPUs and GPUs, and the jobs that wait for them."""

    def __init__(self, vcpus: int, gpus: int) -> None:
        self.vcpus, self.gpus = vcpus, gpus
        self._free = [vcpus, gpus]
        self._waiting: dict[int, Ticket] = {}
        self._used: Counter[tuple[str, str | None]] = Counter()
        self._lock = threading.Lock()

    def wait(self, ticket: Ticket) -> None:
        """Let the job start when its turn comes, which may be now."""
        with self._lock:
            self._waiting[ticket.number] = ticket
            self._grant()

    def leave(self, number: int) -> bool:
        """Take a job out that still waits; False where it does not."""
        with self._lock:
            return self._waiting.pop(number, None) is not None

    def release(self, ticket: Ticket) -> None:
        """Give the job's slots back."""
        with self._lock:
            self._book(ticket, -1)
            self._grant()

    def needs(self, ticket: Ticket) -> tuple[int, int]:
        """The slots that a job takes: as many vCPUs as it asks for, or all; GPUs beyond all of them never come."""
        return min(self.vcpus, max(1, ticket.vcpus)), ticket.gpus

    def _book(self, ticket: Ticket, sign: int) -> None:
        vcpus, gpus = self.needs(ticket)
        self._free = [self._free[0] - sign * vcpus, self._free[1] - sign * gpus]
        self._used[ticket.queue, ticket.share] += sign * vcpus

    def _grant(self) -> None:
        """Start who fits. One for whom no GPU is left lets pass who needs none; nobody passes who waits for a vCPU."""
        while True:
            blocked = False
            for ticket in sorted(self._waiting.values(), key=self._rank):
                vcpus, gpus = self.needs(ticket)
                if gpus and (blocked or gpus > self._free[1]):
                    blocked = blocked or gpus <= self.gpus
                    continue
                break
            else:
                return
            if vcpus > self._free[0]:
                return
            del self._waiting[ticket.number]
            self._book(ticket, 1)
            ticket.start()

    def _rank(self, ticket: Ticket) -> tuple[float, ...]:
        used = self._used[ticket.queue, ticket.share] * ticket.weight if ticket.share is not None else 0
        return (-ticket.queue_priority, used, -ticket.scheduling_priority, ticket.number)

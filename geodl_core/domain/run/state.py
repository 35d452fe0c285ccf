"""The states of a run, which follow which, and when to try again."""

from typing import Literal, get_args

from geodl_core.errors import GeodlError, InputError, OutOfMemoryError, UnavailableError

State = Literal["queued", "claimed", "running", "succeeded", "failed", "invalid", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
FINAL: tuple[State, ...] = ("succeeded", "failed", "invalid", "cancelled")
ACTIVE: tuple[State, ...] = ("claimed", "running")
FOLLOWING: dict[State, tuple[State, ...]] = {
    "queued": ("claimed", "cancelled", "invalid", "failed"),
    "claimed": ("running", "queued", "succeeded", "failed", "invalid", "cancelled"),
    "running": ("succeeded", "queued", "failed", "invalid", "cancelled"),
    "succeeded": ("queued",),
    "failed": ("queued",),
    "invalid": ("queued",),
    "cancelled": ("queued",),
}
"""Final states are left by a person's retry or rerun alone."""

MOST_TRIES = 5
"""Of one unit of work."""
FIRST_PAUSE_S, FACTOR, LONGEST_PAUSE_S = 2.0, 4.0, 600.0
"""Before the second try, and what it grows by: five tries outlast a service that is away for a minute."""


def is_transient(error: GeodlError) -> bool:
    """Say whether another try may succeed."""
    return isinstance(error, UnavailableError | OutOfMemoryError)


def state_after(error: GeodlError) -> State:
    """Return the state of a run that an error ended: `invalid` where its input can never serve.

    Who may not use its own store has failed: the same input serves once it may.
    """
    return "invalid" if isinstance(error, InputError) else "failed"


def pause_s(tries: int, chance: float) -> float:
    """Return how long to wait before the next try.

    Exponential back-off with full jitter, but never less than half: https://aws.amazon.com/builders-library, "Timeouts,
    retries, and backoff with jitter".

    Args:
        tries: that failed so far, from 1.
        chance: uniform in [0, 1).
    """
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * FACTOR ** (tries - 1))
    return longest * (0.5 + 0.5 * chance)

"""Windows of time that scans look into. Times are seconds since 1970 (UTC); a window's end is not a part of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from geodl_core.errors import InputError

DAY_S = 86_400.0
Kind = Literal["scan", "backfill"]
"""What a window is looked into for: what has appeared, or what was taken."""
APPEARED = ("created", "updated")
"""Properties that say when an Item appeared, or appeared anew."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` until before `end`.

    Raises:
        InputError: it is empty.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise InputError(
                f"expected a start before the end, found {stamp(self.start)} and {stamp(self.end)}",
                hint="the end of a range of days is a part of it: --from 2026-05-01 --to 2026-05-01 is one day",
            )


def scan_window(now: float, lookback_days: float, last_end: float | None) -> Window:
    """Return what a scheduled scan looks at: everything since the scan before, and some days more.

    Items appear late, out of order, and hours after the event that announced them; what was seen before costs nothing.

    Args:
        now: the window's end.
        lookback_days: how far it reaches back behind the scan before.
        last_end: end of the last window that was scanned whole; None where there was none.
    """
    behind = now if last_end is None else min(now, last_end)
    return Window(behind - lookback_days * DAY_S, now)


def stamp(moment: float) -> str:
    """Return a time as RFC 3339 in UTC, to the microsecond where it is not a whole second."""
    return (EPOCH + timedelta(microseconds=round(moment * 1e6))).isoformat().replace("+00:00", "Z")


def interval_text(window: Window) -> str:
    """Return a window as STAC's `datetime`, whose end is a part of it: a microsecond before the window's."""
    last = EPOCH + timedelta(microseconds=round(window.end * 1e6)) - MICROSECOND
    return f"{stamp(window.start)}/{last.isoformat().replace('+00:00', 'Z')}"


def moment_of(text: Any) -> float | None:
    """Return an RFC 3339 time from outside, None where it is none; one without an offset is UTC."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, OverflowError):
        return None


def acquired(item: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return when an Item's data were taken: twice the same for an instant, None where it does not say."""
    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        return None
    instant = moment_of(properties.get("datetime"))
    if instant is not None:
        return instant, instant
    start, end = moment_of(properties.get("start_datetime")), moment_of(properties.get("end_datetime"))
    return None if start is None or end is None or end < start else (start, end)


def was_acquired(item: Mapping[str, Any], window: Window) -> bool:
    """Say whether some of an Item's data were taken within a window."""
    times = acquired(item)
    return times is not None and times[0] < window.end and times[1] >= window.start


def has_appeared(item: Mapping[str, Any], window: Window, names: tuple[str, ...] = APPEARED) -> bool:
    """Say whether an Item says of itself that it was made or changed within a window."""
    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        return False
    moments = [moment_of(properties.get(name)) for name in names]
    return any(moment is not None and window.start <= moment < window.end for moment in moments)


def read_day(text: str, option: str) -> float:
    """Return the first second of a day.

    Args:
        text: `2026-05-01`.
        option: what asks for it, for the error.

    Raises:
        InputError: it is no day.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise InputError(f"{option} {text}: expected a day such as 2026-05-01") from error


def read_moment(text: str, option: str) -> float:
    """Return the time that a day or an RFC 3339 text means; a day is its first second.

    Raises:
        InputError: it is neither.
    """
    moment = moment_of(text)
    if moment is None:
        raise InputError(f"{option} {text}: expected a time such as 2026-05-01 or 2026-05-01T10:30:00Z")
    return moment

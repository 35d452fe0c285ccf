"""RFC 3339 texts to whole microseconds since 1970, the unit in which catalogs compare times."""

import re
from datetime import UTC, datetime, timedelta

from geodl_core.errors import QueryError

DAY_US = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORT = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?")


def instant_us(text: str) -> int:
    """Return the first microsecond that `text` (an instant, a day, a month or a year) means.

    A time without an offset is UTC; digits finer than a microsecond are dropped.

    Raises:
        ValueError: `text` is no RFC 3339 time.
    """
    short = _SHORT.fullmatch(text)
    if short:
        year, month, day = (int(part) if part else 1 for part in short.groups())
        moment = datetime(year, month, day, tzinfo=UTC)
    else:
        moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


def period_us(text: str) -> tuple[int, int]:
    """Return the first and last microsecond of `text`: `2024-05` is the whole of May.

    Raises:
        ValueError: `text` is no RFC 3339 time.
    """
    start = instant_us(text)
    short = _SHORT.fullmatch(text)
    if not short:
        return start, start
    year, month, day = short.groups()
    if day:
        return start, start + DAY_US - 1
    if month:
        return start, instant_us(f"{text}-28") + _days_after_28th(int(year), int(month)) * DAY_US - 1
    return start, instant_us(f"{year}-12-31") + DAY_US - 1


def interval_us(text: str) -> tuple[int | None, int | None]:
    """Return both ends, inclusive, of a STAC `datetime` text; None is an open end.

    Raises:
        QueryError: the text cannot be read, or its end lies before its start.
    """
    parts = [part.strip() for part in text.split("/")]
    hint = "write 2024-05-17T10:30:00Z, 2024-05, 2024-05-01/2024-05-31, 2024-05-01/.. or ../2024-05-01"
    if len(parts) > 2 or all(part in ("", "..") for part in parts):
        raise QueryError(f"datetime: expected an instant or start/end, found {text!r}", hint=hint)
    try:
        periods = [None if part in ("", "..") else period_us(part) for part in parts]
    except (ValueError, OverflowError) as err:
        raise QueryError(f"datetime: expected an RFC 3339 time, found {text!r}", hint=hint) from err
    first, last = periods[0], periods[-1]
    start, end = first and first[0], last and last[1]
    if start is not None and end is not None and start > end:
        raise QueryError(f"datetime: {text!r} ends before it starts", hint=hint)
    return start, end


def rfc3339(micros: int) -> str:
    """Return `micros` as an RFC 3339 text in UTC."""
    return (EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def _days_after_28th(year: int, month: int) -> int:
    following = datetime(year, month, 28, tzinfo=UTC) + timedelta(days=4)
    return 5 - following.day

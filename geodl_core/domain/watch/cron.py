"""A cron as it is written in a watch, read into the numbers that its fields allow.

https://pubs.opengroup.org/onlinepubs/9699919799/utilities/crontab.html, with steps and names as in most crontabs.
"""

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from geodl_core.errors import InputError

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Of the fifth field: 0 and 7 are Sunday."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 7, DAYS[:7]),
)
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Days of each month, at most."""
HINT = "five fields: minute hour day month weekday, such as '0 6 * * *' for each day at six, '*/30 * * * mon-fri'"


@dataclass(frozen=True, slots=True)
class Cron:
    """What a cron allows. Fields are rising numbers."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    """Of the month."""
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    """0 to 6; 0 is Sunday."""
    is_either: bool
    """Whether one of the two kinds of days is enough; else a day has to be of both."""

    @property
    def has_all_days(self) -> bool:
        return len(self.days) == 31

    @property
    def has_all_weekdays(self) -> bool:
        return len(self.weekdays) == 7


def read_cron(text: str) -> Cron:
    """Read a cron.

    Either kind of day is enough where both are given, and neither begins with `*`.

    Raises:
        InputError: it has not five fields, or one that cannot be read.
    """
    fields = text.lower().split()
    if len(fields) != len(FIELDS):
        raise InputError(f"schedule: cron {text!r}: expected five fields, found {len(fields)}", hint=HINT)
    minutes, hours, days, months, weekdays = (_numbers(field, number, text) for number, field in enumerate(fields))
    is_either = not fields[2].startswith("*") and not fields[4].startswith("*")
    return Cron(minutes, hours, days, months, tuple(sorted({day % 7 for day in weekdays})), is_either)


def can_fire(cron: Cron) -> bool:
    """Say whether there is a day that a cron allows; one that asks for both kinds of days is believed."""
    is_weekly = cron.is_either and not cron.has_all_days
    return is_weekly or any(day <= LONGEST[month - 1] for month in cron.months for day in cron.days)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name.

    Raises:
        InputError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"schedule: timezone: no time zone {name[:60]!r}", hint="such as Europe/Vienna") from error


def _numbers(text: str, number: int, cron: str) -> tuple[int, ...]:
    name, least, most, _ = FIELDS[number]
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\*|[a-z]{3}|\d{1,2})(?:-([a-z]{3}|\d{1,2}))?(?:/(\d{1,3}))?", part)
        if not match or (match[1] == "*" and match[2]):
            raise InputError(f"schedule: cron {cron!r}: {name}: cannot read {part!r}", hint=HINT)
        first = least if match[1] == "*" else _number(match[1], number, cron)
        last = _number(match[2], number, cron) if match[2] else most if match[1] == "*" or match[3] else first
        if last < first or match[3] == "0":
            raise InputError(f"schedule: cron {cron!r}: {name}: expected a rising range, found {part!r}", hint=HINT)
        found |= set(range(first, last + 1, int(match[3] or 1)))
    return tuple(sorted(found))


def _number(text: str, field: int, cron: str) -> int:
    name, least, most, words = FIELDS[field]
    if text in words:
        return words.index(text) + least
    if not text.isdigit() or not least <= int(text) <= most:
        raise InputError(f"schedule: cron {cron!r}: {name}: expected {least} to {most}, found {text!r}", hint=HINT)
    return int(text)

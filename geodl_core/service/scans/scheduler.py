"""When scheduled watches scan: firings kept in the ledger, missed ones made up for by one.

Of APScheduler the triggers alone are taken, which say when: its store of jobs keeps them as pickles.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from geodl_core.domain.scan.windows import scan_window
from geodl_core.domain.watch.watch import Schedule
from geodl_core.errors import InputError
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.watches import StoredWatch, list_watches, set_next
from geodl_core.service.scans.scan_watch import source_of
from geodl_core.service.scans.scans import Asked, insert_scan, last_end

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Of a cron's fifth field: 0 and 7 are Sunday. APScheduler's own reading of the numbers begins on Monday."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 7, DAYS[:7]),
)
AHEAD = timedelta(days=3660)
"""A cron that does not fire for so long never does; 29 February may take eight years."""
HINT = "five fields: minute hour day month weekday, such as '0 6 * * *' for each day at six, '*/30 * * * mon-fri'"
STEP = timedelta(microseconds=1)


def check_schedule(schedule: Schedule) -> None:
    """Make sure that a schedule fires.

    Raises:
        InputError: no time zone of that name, no cron, or one that never fires.
    """
    zone = _zone(schedule.timezone)
    if schedule.cron is not None:
        for trigger in _triggers(schedule.cron, zone):
            if trigger(datetime(2026, 1, 1, tzinfo=UTC)) is not None:
                return
        raise InputError(f"schedule: cron {schedule.cron!r} never fires", hint=HINT)
    assert schedule.every is not None
    if schedule.every > AHEAD:
        raise InputError(f"schedule: every: expected ten years at most, found {schedule.every.days} days")


def next_firing(schedule: Schedule, after: float, last: float | None) -> float | None:
    """Return when a schedule fires next.

    Crons follow their zone's clock. Where it is put forward, a time that there is not fires an hour later; where it
    is put back, an hour that comes twice fires once, unless the cron fires in every hour.

    Args:
        schedule: cron or rate.
        after: later than this time.
        last: when it fired before; None where it never did, and then a rate fires at once.

    Returns:
        Seconds since 1970; None where a cron does not fire within ten years.

    Raises:
        InputError: as `check_schedule`.
    """
    moment = datetime.fromtimestamp(after, UTC)
    if schedule.cron is not None:
        found = [trigger(moment) for trigger in _triggers(schedule.cron, _zone(schedule.timezone))]
        return min((each.timestamp() for each in found if each is not None), default=None)
    assert schedule.every is not None
    return after if last is None else _interval(schedule.every, last, after)


def fire_due(ledger: Ledger, now: float) -> int:
    """Open the scans of scheduled watches that are due; return how many were opened.

    Firings that were missed are made up for by one, whose window reaches back to the last scan; one that comes while a
    scan of the watch is under way is left out. Of several schedulers one fires: a scan's id follows from its firing.
    Paused watches do not fire, and a watch that has changed begins anew.
    """
    fired = 0
    for stored in list_watches(ledger):
        schedule = stored.watch.schedule
        if schedule is None or stored.watch.mode != "schedule" or stored.is_paused:
            continue
        if stored.next_at is not None and stored.next_at > now:
            continue
        try:
            following = next_firing(schedule, now, stored.next_at)
        except InputError:
            continue  # was let in by an older version; the others go on
        if stored.next_at is not None:
            # First the scan, whose id knows the firing: who dies in between leaves it to be found, and not done twice.
            fired += _open(ledger, stored, now)
        if following != stored.next_at:
            set_next(ledger, stored.watch.name, stored.next_at, following)
    return fired


def _open(ledger: Ledger, stored: StoredWatch, now: float) -> bool:
    watch = stored.watch
    window = scan_window(now, source_of(watch).lookback_days, last_end(ledger, watch.name))
    asked = Asked(watch.name, "scan", window, priority=watch.priority)
    return insert_scan(ledger, asked, f"{stored.created} {stored.next_at}")


def _interval(every: timedelta, last: float, after: float) -> float:
    from apscheduler.triggers.interval import IntervalTrigger  # type: ignore[import-untyped]  # noqa: PLC0415  # for schedulers alone

    start = datetime.fromtimestamp(last, UTC)
    trigger = IntervalTrigger(seconds=every.total_seconds(), start_date=start, timezone=UTC)
    moment: datetime = trigger.get_next_fire_time(None, datetime.fromtimestamp(after, UTC) + STEP)
    return moment.timestamp()


def _triggers(cron: str, zone: ZoneInfo) -> list[Callable[[datetime], datetime | None]]:
    """Return what fires a cron: two where days of the month and of the week are given, either of which is enough.

    https://pubs.opengroup.org/onlinepubs/9699919799/utilities/crontab.html
    """
    fields = cron.lower().split()
    if len(fields) != len(FIELDS):
        raise InputError(f"schedule: cron {cron!r}: expected five fields, found {len(fields)}", hint=HINT)
    values = [_values(text, number, cron) for number, text in enumerate(fields)]
    day, weekday = values[2], values[4]
    if day != "*" and weekday != "*" and not fields[2].startswith("*") and not fields[4].startswith("*"):
        return [_trigger([*values[:4], "*"], zone), _trigger([*values[:2], "*", values[3], weekday], zone)]
    return [_trigger(values, zone)]


def _trigger(values: list[str], zone: ZoneInfo) -> Callable[[datetime], datetime | None]:
    from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]  # noqa: PLC0415  # for schedulers alone

    names = ("minute", "hour", "day", "month", "day_of_week")
    given: dict[str, Any] = dict(zip(names, values, strict=True))

    def after(moment: datetime) -> datetime | None:
        trigger = CronTrigger(**given, timezone=zone, end_date=moment + AHEAD)
        found: datetime | None = trigger.get_next_fire_time(None, moment + STEP)
        while found is not None and found.fold and values[1] != "*":
            found = trigger.get_next_fire_time(None, found.astimezone(UTC) + STEP)
        return found

    return after


def _values(text: str, number: int, cron: str) -> str:
    """Return a field of a cron as APScheduler reads it: days of the week by name, the rest as numbers."""
    name, least, most, words = FIELDS[number]
    if text == "*":
        return text
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
    if words == DAYS[:7]:
        return ",".join(sorted({DAYS[day] for day in found}))
    return ",".join(map(str, sorted(found)))


def _number(text: str, field: int, cron: str) -> int:
    name, least, most, words = FIELDS[field]
    if text in words:
        return words.index(text) + least
    if not text.isdigit() or not least <= int(text) <= most:
        raise InputError(f"schedule: cron {cron!r}: {name}: expected {least} to {most}, found {text!r}", hint=HINT)
    return int(text)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"schedule: timezone: no time zone {name[:60]!r}", hint="such as Europe/Vienna") from error

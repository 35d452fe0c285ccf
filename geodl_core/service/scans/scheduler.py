"""When scheduled watches scan: firings kept in the ledger, missed ones made up for by one.

Of APScheduler the triggers alone are taken, which say when: its store of jobs keeps them as pickles.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from geodl_core.domain.scan.windows import scan_window
from geodl_core.domain.watch.cron import DAYS, HINT, Cron, read_cron, zone_of
from geodl_core.domain.watch.watch import Schedule
from geodl_core.errors import InputError
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.watches import StoredWatch, list_watches, set_next
from geodl_core.service.scans.scan_watch import source_of
from geodl_core.service.scans.scans import Asked, insert_scan, last_end

AHEAD = timedelta(days=3660)
"""A cron that does not fire for so long never does; 29 February may take eight years."""
STEP = timedelta(microseconds=1)
ALL_DAYS, ALL_WEEKDAYS = tuple(range(1, 32)), tuple(range(7))


def check_schedule(schedule: Schedule) -> None:
    """Make sure that a schedule fires.

    Raises:
        InputError: no time zone of that name, no cron, or one that never fires.
    """
    zone = zone_of(schedule.timezone)
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
        found = [trigger(moment) for trigger in _triggers(schedule.cron, zone_of(schedule.timezone))]
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


def _triggers(text: str, zone: ZoneInfo) -> list[Callable[[datetime], datetime | None]]:
    """Return what fires a cron: two where days of the month and of the week are given, either of which is enough."""
    cron = read_cron(text)
    if cron.is_either:
        return [_trigger(replace(cron, weekdays=ALL_WEEKDAYS), zone), _trigger(replace(cron, days=ALL_DAYS), zone)]
    return [_trigger(cron, zone)]


def _trigger(cron: Cron, zone: ZoneInfo) -> Callable[[datetime], datetime | None]:
    from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]  # noqa: PLC0415  # for schedulers alone

    listed = {"minute": cron.minutes, "hour": cron.hours, "day": cron.days, "month": cron.months}
    given: dict[str, Any] = {name: ",".join(map(str, numbers)) for name, numbers in listed.items()}
    # By name: APScheduler's own numbers of days begin on Monday.
    given["day_of_week"] = ",".join(DAYS[day] for day in cron.weekdays)
    is_hourly = len(cron.hours) == 24

    def after(moment: datetime) -> datetime | None:
        trigger = CronTrigger(**given, timezone=zone, end_date=moment + AHEAD)
        found: datetime | None = trigger.get_next_fire_time(None, moment + STEP)
        while found is not None and found.fold and not is_hourly:
            found = trigger.get_next_fire_time(None, found.astimezone(UTC) + STEP)
        return found

    return after

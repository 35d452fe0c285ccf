"""When watches scan, as EventBridge Scheduler writes it.

Sources: EventBridge Scheduler, "Schedule types" (fields, `?`, rates, time zones, daylight saving time), and the API's
limits of expressions and zones. Days of the week are written by name: the numbers of a crontab begin with 0 for Sunday,
those of Scheduler with 1. The longest expression that a cron can make has 235 letters; Scheduler takes 256.
"""

from datetime import timedelta

from geodl_core.domain.watch.cron import FIELDS, HINT, Cron, can_fire, read_cron, zone_of
from geodl_core.domain.watch.watch import Schedule
from geodl_core.errors import InputError

MOST_ZONE_LETTERS = 50
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
UNITS = ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute"))
MOST = timedelta(days=3660)


def expressions_of(schedule: Schedule) -> tuple[str, ...]:
    """Return what Scheduler is asked for: one expression, or two that together fire when the schedule does.

    A cron that names days of the month and of the week fires on either, which takes two; on a day that is both, both
    fire, and the second scan finds nothing new.

    Raises:
        InputError: it never fires, there is no such time zone, or Scheduler cannot say it.
    """
    if schedule.every is not None:
        return (_rate(schedule.every),)
    if schedule.cron is None:
        raise InputError("schedule: expected either cron or every, found neither")
    zone_of(schedule.timezone)
    if len(schedule.timezone) > MOST_ZONE_LETTERS:
        raise InputError(f"schedule: timezone: expected at most {MOST_ZONE_LETTERS} letters on AWS")
    cron = read_cron(schedule.cron)
    if not can_fire(cron):
        raise InputError(f"schedule: cron {schedule.cron!r} never fires", hint=HINT)
    return tuple(f"cron({_times(cron)} {days} *)" for days in _days(cron, schedule.cron))


def _rate(every: timedelta) -> str:
    for unit, name in UNITS:
        if not every % unit:
            count = every // unit
            if every > MOST:
                break
            return f"rate({count} {name}{'' if count == 1 else 's'})"
    raise InputError(f"schedule: every: expected whole minutes on AWS, ten years at most, found {every}")


def _times(cron: Cron) -> str:
    return f"{_field(cron.minutes, 0)} {_field(cron.hours, 1)}"


def _days(cron: Cron, text: str) -> tuple[str, ...]:
    """Return day of the month, month and day of the week, of which Scheduler takes one kind of day only."""
    month = _field(cron.months, 3)
    by_date = f"{_field(cron.days, 2)} {month} ?"
    by_weekday = f"? {month} {_runs(cron.weekdays, WEEKDAYS)}"
    if cron.is_either and not cron.has_all_days and not cron.has_all_weekdays:
        return (by_date, by_weekday)
    if cron.is_either:
        return (f"* {month} ?",)
    if cron.has_all_weekdays:
        return (by_date,)
    if cron.has_all_days:
        return (by_weekday,)
    raise InputError(
        f"schedule: cron {text!r}: expected days of the month or days of the week on AWS, found those that are both",
        hint="without a * in front of the two fields either kind of day is enough",
    )


def _field(numbers: tuple[int, ...], number: int) -> str:
    _, least, most, _ = FIELDS[number]
    if numbers == tuple(range(least, most + 1)):
        return "*"
    step = numbers[1] - numbers[0] if len(numbers) > 2 else 1
    if step > 1 and numbers == tuple(range(numbers[0], most + 1, step)):
        return f"{numbers[0]}/{step}"
    return _runs(numbers, tuple(map(str, range(most + 1))))


def _runs(numbers: tuple[int, ...], names: tuple[str, ...]) -> str:
    """Return rising numbers as a list, in which what follows one another is a range."""
    runs: list[list[int]] = []
    for value in numbers:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(f"{names[run[0]]}-{names[run[-1]]}" if len(run) > 1 else names[run[0]] for run in runs)

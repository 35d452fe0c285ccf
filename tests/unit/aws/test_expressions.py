"""When watches scan on AWS: the same times as on one machine, written as EventBridge Scheduler has it."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.aws.watches.expressions import expressions_of
from geodl_core.domain.watch.watch import Schedule
from geodl_core.errors import InputError
from geodl_core.service.scans.scheduler import check_schedule, next_firing

YEAR = 2027
DAYS = [datetime(YEAR, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(365)]
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def values(text, least, most):
    """Read a field as Scheduler's user guide explains it: `*`, lists, ranges, and `first/step` up to the end."""
    if text == "*":
        return set(range(least, most + 1))
    found = set()
    for part in text.split(","):
        if "/" in part:
            first, step = map(int, part.split("/"))
            found |= set(range(first, most + 1, step))
        else:
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    assert all(least <= value <= most for value in found)
    return found


def days_of(text):
    """Read days of the week by name, SUN to SAT."""
    found = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(WEEKDAYS.index(first), WEEKDAYS.index(last or first) + 1))
    return found


def firings_of(expression, zone):
    """Return all times of the year at which an expression fires, by looking at each minute that its fields allow."""
    minutes, hours, dates, months, weekdays, year = re.fullmatch(r"cron\((.*)\)", expression)[1].split(" ")
    assert year == "*"
    assert (dates == "?") != (weekdays == "?"), "just one kind of day is to be given"
    found = set()
    for day in DAYS:
        is_day = day.day in values(dates, 1, 31) if dates != "?" else (day.weekday() + 1) % 7 in days_of(weekdays)
        if is_day and day.month in values(months, 1, 12):
            for hour in values(hours, 0, 23):
                found |= {day.replace(hour=hour, minute=each, tzinfo=zone) for each in values(minutes, 0, 59)}
    return found


def firings_here(schedule, zone):
    """Return all times of the year at which the project's own scheduler fires."""
    moment = datetime(YEAR, 1, 1, tzinfo=zone).timestamp() - 1
    end = datetime(YEAR + 1, 1, 1, tzinfo=zone).timestamp()
    found = set()
    while True:
        moment = next_firing(schedule, moment, moment)
        if moment is None or moment >= end:
            return found
        found.add(datetime.fromtimestamp(moment, UTC))


def same(schedule, zone=UTC):
    asked = set().union(*(firings_of(one, zone) for one in expressions_of(schedule)))
    return {moment.astimezone(UTC) for moment in asked} == firings_here(schedule, zone)


DAY = st.sampled_from(["*", "1", "29-31", "1,15", "*/7", "10-20/5", "1-31", "31"])
WEEKDAY = st.sampled_from(["*", "0", "7", "mon-fri", "1,3,6-7", "5-7", "fri", "2/2", "0-6"])
FEW = st.sampled_from(["0", "15", "7,40", "30-32", "50/4"])
HOUR = st.sampled_from(["6", "0", "23", "6,18", "8-10", "*/8"])
MONTH = st.sampled_from(["*", "2", "jan-mar", "*/4", "6,7,12"])


@settings(max_examples=25, deadline=None)
@given(FEW, HOUR, DAY, MONTH, WEEKDAY)
def test_a_cron_fires_on_aws_when_it_does_here(minute, hour, day, month, weekday):
    """Over a year each cron fires at the very minutes at which APScheduler's triggers fire, whatever kind of days."""
    schedule = Schedule(cron=f"{minute} {hour} {day} {month} {weekday}")
    try:
        check_schedule(schedule)
    except InputError:
        with pytest.raises(InputError, match="never fires"):
            expressions_of(schedule)
        return
    is_both = day == "*/7" and weekday not in ("*", "0-6")
    if is_both:
        with pytest.raises(InputError, match="those that are both"):
            expressions_of(schedule)
    else:
        assert same(schedule)


@pytest.mark.parametrize("zone", ["Europe/Vienna", "America/New_York", "Asia/Kolkata"])
def test_a_zone_is_kept(zone):
    """A cron follows the clock of its zone in summer and winter; zones go to Scheduler by name, as they are."""
    assert same(Schedule(cron="30 6,12 * * mon-sat", timezone=zone), ZoneInfo(zone))


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 6 * * *", ("cron(0 6 * * ? *)",)),
        ("*/20 * * * mon-fri", ("cron(0/20 * ? * MON-FRI *)",)),
        ("0 0 * * 0", ("cron(0 0 ? * SUN *)",)),
        ("0 0 * * 7", ("cron(0 0 ? * SUN *)",)),
        ("0 0 1 1-3 *", ("cron(0 0 1 1-3 ? *)",)),
        ("5 4 13 * fri", ("cron(5 4 13 * ? *)", "cron(5 4 ? * FRI *)")),
        ("5 4 1-31 * fri", ("cron(5 4 * * ? *)",)),
        ("5 4 */1 * fri", ("cron(5 4 ? * FRI *)",)),
    ],
)
def test_crons_as_they_are_written(cron, expected):
    """Scheduler wants six fields, a `?` for one kind of day, and has its own numbers of weekdays: names are used."""
    assert expressions_of(Schedule(cron=cron)) == expected


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("PT1M", "rate(1 minute)"),
        ("PT90M", "rate(90 minutes)"),
        (3600, "rate(1 hour)"),
        ("PT6H", "rate(6 hours)"),
        ("P1D", "rate(1 day)"),
        ("P2W", "rate(14 days)"),
    ],
)
def test_rates(every, expected):
    """A rate is whole minutes, hours or days; one of a unit is singular."""
    assert expressions_of(Schedule(every=every)) == (expected,)


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        ({"every": 90}, "whole minutes"),
        ({"every": "P4000D"}, "ten years"),
        ({"cron": "0 6 30 2 *"}, "never fires"),
        ({"cron": "0 6 */2 * mon"}, "those that are both"),
        ({"cron": "0 6 * *"}, "five fields"),
        ({"cron": "0 6 * * *", "timezone": "Mars/Olympus"}, "no time zone"),
    ],
)
def test_what_scheduler_cannot_say_is_refused(schedule, complaint):
    """A schedule that would be another one on AWS is refused, with why."""
    with pytest.raises(InputError, match=complaint):
        expressions_of(Schedule(**schedule))


def test_the_longest_expression_fits():
    """Pairs of neighbours, for which Scheduler has no short form, are the longest; it takes them, too."""
    cron = "0-57/3,1-58/3 0-21/3,1-22/3 1-28/3,2-29/3 1-10/3,2-11/3 *"
    (found,) = expressions_of(Schedule(cron=cron))
    assert 200 < len(found) <= 256

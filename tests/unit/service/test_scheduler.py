"""Schedules: when they fire, and that each firing is one scan."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.domain.watch.watch import Schedule, read_watch
from geodl_core.errors import InputError
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.tables import WATCHES
from geodl_core.service.ledger.watches import pause_watch, put_watch, read_stored_watch
from geodl_core.service.scans.scans import list_scans
from geodl_core.service.scans.scheduler import check_schedule, fire_due, next_firing
from geodl_core.service.scans.tables import SCANS

START = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
DAY = 86_400


def watch(**schedule):
    document = {"name": "fields", "model": "m", "collections": ["s2"], "mode": "schedule", "schedule": schedule}
    return read_watch(document, "watch")


@pytest.fixture
def ledger(tmp_path):
    with Ledger(str(tmp_path / "catalog.db"), clock=lambda: START) as opened:
        yield opened


def firings(schedule, start, count):
    moments = []
    for _ in range(count):
        start = next_firing(schedule, start, start)
        moments.append(datetime.fromtimestamp(start, UTC))
    return moments


def by_brute_force(minute, hour, day, month, weekday, start):
    """Look at every minute; days of month and week as crontab has them, Sunday as 0."""
    moment = datetime.fromtimestamp(start, UTC).replace(second=0) + timedelta(minutes=1)
    while True:
        is_day = moment.day == day if day is not None else True
        is_weekday = moment.isoweekday() % 7 == weekday % 7 if weekday is not None else True
        is_given = (is_day or is_weekday) if None not in (day, weekday) else (is_day and is_weekday)
        if moment.month in month and moment.minute == minute and moment.hour == hour and is_given:
            return moment
        moment += timedelta(minutes=1)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.none() | st.integers(1, 28),
    st.sampled_from([(1, 12), (3, 5), (7, 8)]),
    st.none() | st.integers(0, 7),
)
def test_crons_fire_when_crontab_says(minute, hour, day, months, weekday):
    """A cron fires at the first minute that its five fields allow; 0 and 7 are Sunday, either kind of day is enough."""
    word = lambda value: "*" if value is None else str(value)  # noqa: E731
    cron = f"{minute} {hour} {word(day)} {months[0]}-{months[1]} {word(weekday)}"
    expected = by_brute_force(minute, hour, day, range(months[0], months[1] + 1), weekday, START)
    assert firings(Schedule(cron=cron), START, 1) == [expected]


def test_a_clock_that_is_put_forward_or_back():
    """What the clock leaves out fires an hour later; what comes twice fires once, unless the cron is for every hour."""
    at = lambda text: datetime.fromisoformat(text).timestamp()  # noqa: E731
    daily = Schedule(cron="30 2 * * *", timezone="Europe/Vienna")
    spring = firings(daily, at("2026-03-28T12:00Z"), 2)
    assert [f"{one:%d %H:%M}" for one in spring] == ["29 01:30", "30 00:30"]
    autumn = firings(daily, at("2026-10-24T12:00Z"), 2)
    assert [f"{one:%d %H:%M}" for one in autumn] == ["25 00:30", "26 01:30"]
    hourly = firings(Schedule(cron="0 * * * *", timezone="Europe/Vienna"), at("2026-10-24T22:30Z"), 5)
    assert [f"{one:%H}" for one in hourly] == ["23", "00", "01", "02", "03"]


def test_a_zone_moves_the_hour():
    """Six o'clock is that of the schedule's zone, in summer and in winter."""
    schedule = Schedule(cron="0 6 * * *", timezone="America/New_York")
    for month in (1, 7):
        [found] = firings(schedule, datetime(2026, month, 10, tzinfo=UTC).timestamp(), 1)
        assert found.astimezone(ZoneInfo("America/New_York")).hour == 6


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        ({"cron": "0 6 * *"}, "expected five fields, found 4"),
        ({"cron": "60 6 * * *"}, "minute: expected 0 to 59, found '60'"),
        ({"cron": "0 6 31 2 *"}, "never fires"),
        ({"cron": "0 6 * * fri-mon"}, "rising range"),
        ({"cron": "0 6 * * 8"}, "expected 0 to 7"),
        ({"cron": "*/0 * * * *"}, "rising range"),
        ({"cron": "0 6 last * *"}, "cannot read 'last'"),
        ({"cron": "0 6 * * *", "timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"cron": "0 6 * * *", "timezone": "../../etc/hosts"}, "no time zone"),
        ({"every": 1e9}, "ten years at most"),
    ],
)
def test_schedules_that_cannot_be_kept_are_refused(schedule, complaint):
    """A schedule that is no cron, never fires or has no zone says what is wrong."""
    with pytest.raises(InputError, match=complaint):
        check_schedule(Schedule(**schedule))


def test_good_schedules_are_taken():
    """Ranges, steps, lists and names are read, and so is 29 February."""
    for cron in ("*/15 0-6,18-23/2 1,15 jan-jun mon-fri", "0 0 29 2 *", "0 6 * * 7", "5/20 * * * *"):
        check_schedule(Schedule(cron=cron))


def test_missed_firings_become_one(ledger):
    """After days without a scheduler one scan is opened, whose window reaches over all of them."""
    put_watch(ledger, watch(cron="0 * * * *"), replaces=False)
    assert fire_due(ledger, START) == 0
    assert read_stored_watch(ledger, "fields").next_at == START + 3600
    assert fire_due(ledger, START + 3599) == 0
    late = START + 3 * DAY + 1800
    assert fire_due(ledger, late) == 1
    assert fire_due(ledger, late) == 0
    assert read_stored_watch(ledger, "fields").next_at == START + 3 * DAY + 3600
    [scan] = list_scans(ledger)
    assert (scan.kind, scan.until, scan.since) == ("scan", late, late - 10 * DAY)


def test_of_two_schedulers_one_fires(ledger, tmp_path):
    """Two processes that see the same firing open one scan, whichever step of the other one comes in between."""
    put_watch(ledger, watch(every="PT1H"), replaces=False)
    with Ledger(str(tmp_path / "catalog.db"), clock=lambda: START) as other:
        counts = [fire_due(each, START + hour * 3600) for hour in range(3) for each in (ledger, other, ledger)]
    assert sum(counts) == len(list_scans(ledger)) == 1


def test_a_scheduler_that_died_after_opening_does_not_open_again(ledger):
    """Who dies between the scan and the next firing leaves one scan, whatever became of that by then."""
    put_watch(ledger, watch(every="PT1H"), replaces=False)
    fire_due(ledger, START)
    assert fire_due(ledger, START + 10) == 1
    with ledger.writing() as connection:
        connection.execute(WATCHES.update().values(next_at=START))
        connection.execute(SCANS.update().values(state="done"))
    assert fire_due(ledger, START + 20) == 0
    assert read_stored_watch(ledger, "fields").next_at == START + 3600
    assert len(list_scans(ledger)) == 1


def test_rates_keep_their_beat(ledger):
    """A rate fires at once, then on its beat, whenever the scheduler comes by."""
    put_watch(ledger, watch(every="PT6H"), replaces=False)
    fire_due(ledger, START)
    assert fire_due(ledger, START + 7) == 1
    assert read_stored_watch(ledger, "fields").next_at == START + 6 * 3600
    fire_due(ledger, START + 20 * 3600)
    assert read_stored_watch(ledger, "fields").next_at == START + 24 * 3600


def test_paused_watches_do_not_fire_and_changed_ones_begin_anew(ledger):
    """A pause holds firings back; a watch that goes on or is changed gets a new time."""
    put_watch(ledger, watch(cron="0 * * * *"), replaces=False)
    fire_due(ledger, START)
    pause_watch(ledger, "fields", is_paused=True)
    assert fire_due(ledger, START + 2 * DAY) == 0
    pause_watch(ledger, "fields", is_paused=False)
    assert fire_due(ledger, START + 2 * DAY) == 0
    assert read_stored_watch(ledger, "fields").next_at == START + 2 * DAY + 3600
    put_watch(ledger, watch(cron="30 * * * *"), replaces=True)
    assert fire_due(ledger, START + 3 * DAY) == 0
    assert read_stored_watch(ledger, "fields").next_at == START + 3 * DAY + 1800

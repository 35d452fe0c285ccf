"""Back-fills: scans of a range of days, newest first; and what one would take, before it is run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import random
from typing import Any, TypeVar

import shapely
import sqlalchemy as sa

from geodl_core.domain.area.area import Area, area_shape
from geodl_core.domain.run.order import order_id
from geodl_core.domain.run.state import pause_s
from geodl_core.domain.scan.estimate import Rates, Scene, Tally, area_km2, scene_of, tally
from geodl_core.domain.scan.place import Place, first_place
from geodl_core.domain.scan.windows import Kind, Window
from geodl_core.domain.watch.footprint import footprint_of
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import UnavailableError
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import RunFilter, list_runs, read_payload
from geodl_core.service.ledger.tables import RUNS
from geodl_core.service.scans.pages import Plan, Turned, make_plan, turn_page
from geodl_core.service.scans.scan_watch import (
    Listen,
    Pause,
    ScanReport,
    Wait,
    counts_after,
    model_of,
    orders_for,
    run_scan,
    source_of,
)
from geodl_core.service.scans.scans import NO_COUNTS, Asked, is_hopeless, open_scan
from geodl_core.service.scans.stac_search import Abilities, Later, StacSearch
from geodl_core.service.services import Services

Found = TypeVar("Found")
IDS_AT_ONCE = 500
RATED_RUNS = 20
"""Of the last runs of a model, by which the next ones are estimated."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a back-fill may go."""

    new_runs: int | None = None
    """Ordered before it stops; the next call goes on."""
    runs_per_day: int | None = None
    """Its brake, if lower than the watch's."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan would do."""

    report: ScanReport
    """`ordered` is what would be."""
    total: Tally
    months: tuple[Tally, ...]
    """Newest first."""
    rates: Rates


def backfill(
    services: Services, watch: Watch, window: Window, limits: Limits, whom: tuple[Listen, Pause]
) -> ScanReport:
    """Order runs for everything that was taken in a window, day by day, newest first.

    The same call again goes on where it was left, by whatever; once it is done, it begins anew, and orders what has
    appeared since.

    Args:
        services: catalog and ledger.
        watch: that is kept in the ledger.
        window: when Items were taken.
        limits: how far to go.
        whom: is told after each page; waits so many seconds.

    Raises:
        UnavailableError: the API does not answer; the same call goes on later.
        InputError: the watch cannot be scanned for.
    """
    make_plan(watch, "backfill", window, Abilities("", "POST", has_filter=False, has_query=False))
    model_of(services, watch)
    asked = Asked(watch.name, "backfill", window, limits.new_runs, limits.runs_per_day, watch.priority)
    return run_scan(services, open_scan(services.ledger, asked).id, *whom)


def survey(services: Services, asked: tuple[Watch, Kind, Window], rates: Rates, whom: tuple[Listen, Wait]) -> Survey:
    """Return what a scan would order, and what that would take; nothing is stored.

    Args:
        services: catalog and ledger.
        asked: watch, kind of scan and window.
        rates: what work takes; where it says nothing of speed, the last runs of the watch's model do.
        whom: is told after each page; waits so many seconds, and is told why.

    Raises:
        UnavailableError: the API does not answer.
        InputError: the watch cannot be scanned for.
    """
    model = model_of(services, asked[0])
    if rates.km2_per_hour is None:
        rates = Rates(recorded_rate(services.ledger, model), rates.price_per_hour)
    return survey_with(asked, model, partial(known_runs, services.ledger), rates, whom)


def survey_with(
    asked: tuple[Watch, Kind, Window],
    model: str,
    known: Callable[[Sequence[str]], set[str]],
    rates: Rates,
    whom: tuple[Listen, Wait],
) -> Survey:
    """Return what a scan would order, wherever its runs are kept; see `survey`.

    Args:
        asked: watch, kind of scan and window.
        model: `NAME@VERSION` that the watch means.
        known: returns which of some runs there are.
        rates: what work takes.
        whom: is told after each page; waits so many seconds, and is told why.

    Raises:
        UnavailableError: the API does not answer.
        InputError: the watch cannot be scanned for.
    """
    watch, kind, window = asked
    listen, wait = whom
    area = area_shape(Area(watch.aoi)) if watch.aoi is not None and watch.clip else None
    scenes: dict[str, Scene] = {}
    with StacSearch(source_of(watch).api) as search:
        abilities = _patiently(search.abilities, wait)
        plan = make_plan(watch, kind, window, abilities)
        report = ScanReport(0, 0, 0, 0, {}, {}, 0, 0.0, "open")
        for turned, counts in _turns(plan, abilities, search, wait):
            ids = [order_id(order) for order in orders_for(watch, model, turned.found)]
            there = known(ids)
            for run_id, found in zip(ids, turned.found, strict=True):
                if run_id not in scenes:
                    covered = _covered(found.footprint, area)
                    scenes[run_id] = scene_of(found.item, covered, is_new=run_id not in there)
            report = _surveyed(counts, scenes, plan, turned)
            listen(report)
    total, months = tally(scenes.values(), rates)
    return Survey(report, total, tuple(months), rates)


def known_runs(ledger: Ledger, ids: Sequence[str]) -> set[str]:
    """Return which of some orders are in the ledger."""
    found: set[str] = set()
    with ledger.reading() as connection:
        for start in range(0, len(ids), IDS_AT_ONCE):
            some = ids[start : start + IDS_AT_ONCE]
            found |= set(connection.execute(sa.select(RUNS.c.id).where(RUNS.c.id.in_(some))).scalars())
    return found


def recorded_rate(ledger: Ledger, model: str) -> float | None:
    """Return how many km² a worker computes in an hour, by the last runs of a model; None where there were none.

    Args:
        ledger: with the runs.
        model: `NAME@VERSION`.
    """
    runs = list_runs(ledger, RunFilter(states=("succeeded",), model=model, limit=RATED_RUNS))
    km2 = seconds = 0.0
    for run in runs:
        if run.started is None or run.finished is None or run.tiles == 0:
            continue
        aoi = run.options.get("aoi")
        area = area_shape(Area(aoi)) if isinstance(aoi, str) and aoi.startswith("{") else None
        covered = _covered(footprint_of(read_payload(ledger, run.payload)).geometry, area)
        km2 += 0.0 if covered is None else area_km2(covered)
        seconds += max(0.0, run.finished - run.started)
    return 3600 * km2 / seconds if km2 > 0 and seconds > 0 else None


def _turns(plan: Plan, abilities: Abilities, search: StacSearch, wait: Wait) -> Iterator[tuple[Turned, dict[str, Any]]]:
    """Yield each page of a scan, with the counts so far."""
    place: Place | None = first_place(plan.course)
    counts: dict[str, Any] = dict(NO_COUNTS)
    while place is not None:
        turned = _patiently(partial(turn_page, plan, abilities, place, search), wait)
        counts = counts_after(counts, turned)
        place, abilities = turned.place, turned.abilities
        yield turned, counts


def _patiently(ask: Callable[[], Found | Later], wait: Wait) -> Found:
    """Return what an API answers, asked again with growing pauses.

    Raises:
        UnavailableError: it never did.
    """
    tries = 0
    while isinstance(answer := ask(), Later):
        tries += 1
        if is_hopeless(tries):
            raise UnavailableError(f"{answer.text}, in {tries} tries", hint="try again later")
        seconds = answer.pause_s or pause_s(tries, random())  # noqa: S311  # spreads retries, keeps no secret
        wait(seconds, answer.text)
    return answer


def _covered(footprint: shapely.Geometry | None, area: shapely.Geometry | None) -> shapely.Geometry | None:
    return footprint if footprint is None or area is None else shapely.intersection(footprint, area)


def _surveyed(counts: dict[str, Any], scenes: dict[str, Scene], plan: Plan, turned: Turned) -> ScanReport:
    new = sum(scene.is_new for scene in scenes.values())
    numbers = {name: counts[name] for name in ("found", "matched", "pages")} | {
        "ordered": new,
        "present": counts["matched"] - new,
    }
    window, place = plan.course.window, turned.place
    share = (window.end - place.until) / (window.end - window.start) if place is not None and place.basis == 0 else 1.0
    state = "done" if place is None else "open"
    told = {"refused": counts.get("refused", {}), "notes": counts.get("notes", {})}
    return ScanReport(**numbers, **told, share=share, state=state)

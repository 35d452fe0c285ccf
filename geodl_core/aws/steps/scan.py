"""Scans on AWS: a foreign STAC API's pages, as long as a function may run; where it stopped the next one goes on.

`WATCH#<name>`/`SCAN` of the table, and `SCAN#<execution>` of a back-fill, has the window, the place in it, what was
found so far, and when the last whole scan ended.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from geodl_core.aws.ledger.claims import claim_order, take_over
from geodl_core.aws.ledger.ledger import DAY_S, CloudRun, answers, number, read_run
from geodl_core.aws.ledger.orders import keep_order
from geodl_core.aws.ledger.watches import read_cloud_watch
from geodl_core.aws.site.documents import write_lines
from geodl_core.aws.site.executions import Deployment
from geodl_core.aws.site.layout import backfill_key, backfill_url
from geodl_core.aws.site.model_index import model_finder
from geodl_core.aws.steps.ingest import Known, take_order
from geodl_core.domain.run.order import Order, order_id
from geodl_core.domain.run.state import MOST_TRIES, pause_s
from geodl_core.domain.scan.place import Place, first_place, place_json, read_place
from geodl_core.domain.scan.windows import Kind, Window, scan_window
from geodl_core.domain.watch.orders import orders_of
from geodl_core.domain.watch.watch import Source, Watch
from geodl_core.errors import InputError, UnavailableError
from geodl_core.service.scans.pages import Turned, first_abilities, make_plan, turn_page
from geodl_core.service.scans.stac_search import Abilities, Later, StacSearch

SCAN = "SCAN"
COUNTS = ("found", "matched", "ordered")
KEEP_S = 400 * DAY_S
"""How long a back-fill's standing is remembered."""
CHUNK = 5_000
"""Items of a back-fill that are listed before they are run."""
STOPPED = "States.ABORTED"
"""Class of the error of a run whose execution was stopped, as those of a back-fill that is stopped are."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a scan may take."""

    left_s: Callable[[], float]
    """Seconds that are left to the function."""
    pause: Callable[[float], None]
    """Waits so many seconds."""
    spare_s: float = 90.0
    """A page is begun only while so much is left: a slow one may take a minute."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a scan is."""

    window: Window | None
    """None where no scan is under way."""
    place: Place | None = None
    abilities: Abilities | None = None
    digest: str | None = None
    last_end: float | None = None
    """End of the last window that was scanned whole."""
    answer: dict[str, Any] | None = None
    """Of a back-fill, what was answered last: asked the same again, it is answered again."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """found, matched and ordered, of the whole window so far."""


def scan_stage(deployment: Deployment, known: Known, event: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """Scan for a watch, or list the next items of a back-fill, as far as time allows.

    Args:
        deployment: bucket, ledger, state machine.
        known: remembers models.
        event: watch; of a back-fill also `backfill` (its name), since and until (seconds since 1970) and number.
        turn: what it may take.

    Returns:
        watch, is_done, found, matched, ordered, started; of a back-fill also items_bucket, items_key and count of a
        list with a line {"run_id", "attempt"} for each run to be started, and the next number.

    Raises:
        InputError: no such watch, or it cannot be scanned for.
        UnavailableError: something does not answer; the same call goes on.
    """
    watch = read_cloud_watch(deployment.ledger, str(event["watch"])).watch
    backfill = event.get("backfill")
    kind: Kind = "scan" if backfill is None else "backfill"
    row = {"pk": f"WATCH#{watch.name}", "sk": SCAN if backfill is None else f"{SCAN}#{backfill}"}
    # Said before anything is asked for.
    make_plan(watch, kind, Window(0, 1), Abilities("", "POST", has_filter=False, has_query=False))
    standing = _read(deployment, row)
    number = int(event.get("number", 0))
    if standing.answer is not None and standing.answer["number"] == number + 1:
        return standing.answer
    if standing.window is None:
        standing = _opened(deployment, watch, event, standing)
        if backfill is None:
            # At once: where the API does not answer at all, the sweep asks again.
            _keep(deployment, row, standing)
    basket = _Basket(deployment, known, watch, None if backfill is None else str(backfill))
    before = standing.counts

    def keep(reached: Standing) -> None:
        total = {name: before.get(name, 0) + basket.counts[name] for name in COUNTS}
        _keep(deployment, row, replace(reached, counts=total))

    # Where runs are listed the place moves on when the list is written: what is listed twice is run once.
    standing = _pages((watch, kind), standing, turn, basket, keep if basket.lister is None else None)
    told = {"watch": watch.name, "is_done": standing.place is None, **basket.counts}
    ended = Standing(None, last_end=standing.window.end if standing.window else None)
    if backfill is not None:
        told |= _list(deployment, event, number, basket.listed)
        ended = replace(ended, answer=told)
    keep(ended if standing.place is None else replace(standing, answer=ended.answer))
    return told


class _Basket:
    """What is made of Items that are found: runs, or lines of a back-fill's list; and how many of what."""

    def __init__(self, deployment: Deployment, known: Known, watch: Watch, backfill: str | None) -> None:
        self._deployment, self._watch = deployment, watch
        self._find = model_finder(deployment.s3, deployment.bucket, known.models, deployment.ledger.clock)
        # What a brake puts off is not the map's to start: each run of such a watch is ordered as a scan orders it.
        self.lister = backfill if watch.max_runs_per_day is None else None
        self.listed: list[dict[str, Any]] = []
        self.counts = dict.fromkeys((*COUNTS, "started"), 0)

    def feed(self, turned: Turned) -> None:
        """Take the Items of a page."""
        self.counts["found"] += turned.items
        self.counts["matched"] += len(turned.found)
        for found in turned.found:
            order = orders_of(self._watch, found.item, self._find(self._watch.model).reference)
            if self.lister is not None:
                line = _listed(self._deployment, order, self.lister)
                self.listed += line
                self.counts["ordered"] += len(line)
            else:
                taken = take_order(self._deployment, order, self._watch.max_runs_per_day)
                self.counts["ordered"] += taken.is_new
                self.counts["started"] += taken.is_started


def _list(deployment: Deployment, event: Mapping[str, Any], number: int, listed: list[Any]) -> dict[str, Any]:
    """Write the list of a back-fill's runs; return where it is, and what asks for the next one."""
    name = str(event["backfill"])
    write_lines(deployment.s3, backfill_url(deployment.bucket, name, number), listed)
    key = backfill_key(deployment.bucket, name, number)
    asked = {"backfill": name, "since": event["since"], "until": event["until"], "number": number + 1}
    return {**asked, "items_bucket": deployment.bucket.name, "items_key": key, "count": len(listed)}


def _pages(
    asked: tuple[Watch, Kind],
    standing: Standing,
    turn: Turn,
    basket: _Basket,
    keep: Callable[[Standing], None] | None,
) -> Standing:
    """Turn pages while there is time; return where that ended, without a place at the window's end."""
    watch, kind = asked
    assert standing.window is not None
    with StacSearch((watch.source or Source()).api) as search:
        abilities = standing.abilities or first_abilities(search)
        plan = make_plan(watch, kind, standing.window, abilities)
        is_same = standing.place is not None and standing.digest == plan.digest
        place = standing.place if is_same else first_place(plan.course)
        while place is not None and turn.left_s() > turn.spare_s and len(basket.listed) < CHUNK:
            turned = _turned((plan, abilities, place, search), turn)
            basket.feed(turned)
            place, abilities = turned.place, turned.abilities
            if place is not None and keep is not None:
                keep(replace(standing, place=place, abilities=abilities, digest=plan.digest))
        return replace(standing, place=place, abilities=abilities, digest=plan.digest)


def _turned(asked: tuple[Any, Abilities, Place, StacSearch], turn: Turn) -> Turned:
    """Return a page, asked for again with growing pauses where the API does not answer.

    Raises:
        UnavailableError: it never did.
    """
    tries = 0
    while isinstance(answer := turn_page(*asked), Later):
        tries += 1
        wait_s = answer.pause_s or pause_s(tries, 0.5)
        if tries >= MOST_TRIES or turn.left_s() < turn.spare_s + wait_s:
            raise UnavailableError(f"{answer.text}, in {tries} tries", hint="the next call goes on from there")
        turn.pause(wait_s)
    return answer


def _opened(deployment: Deployment, watch: Watch, event: Mapping[str, Any], standing: Standing) -> Standing:
    """Return a scan that begins."""
    if event.get("backfill") is not None:
        try:
            return replace(standing, window=Window(float(event["since"]), float(event["until"])), counts={})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("back-fill: expected since and until, seconds since 1970") from error
    source = watch.source or Source()
    now = deployment.ledger.clock()
    return replace(standing, window=scan_window(now, source.lookback_days, standing.last_end), counts={})


def _listed(deployment: Deployment, order: Order, name: str) -> list[dict[str, Any]]:
    """Claim an order for the back-fill of this name; return its line, none where it is run or was."""
    run_id = order_id(order)
    run = read_run(deployment.ledger, run_id)
    if run is None:
        keep_order(deployment.s3, deployment.bucket, run_id, order)
        run = claim_order(deployment.ledger, order, None, name).run
    elif _is_left_behind(run, name):
        # The order may have been kept so long ago that it is gone.
        keep_order(deployment.s3, deployment.bucket, run_id, order)
        run = take_over(deployment.ledger, run, name)
    return [{"run_id": run.id, "attempt": run.attempt}] if run.state == "queued" else []


def _is_left_behind(run: CloudRun, name: str) -> bool:
    """Say whether a back-fill that ended has left a run: it was stopped with it, or is held by it still.

    Of what an earlier execution of the same back-fill holds nobody starts anything any more, since the next one is
    begun after its end. What other back-fills hold is listed as it is: they may be under way.
    """
    if run.state == "failed":
        return (run.error or {}).get("class") == STOPPED
    is_earlier = run.held_by not in (None, name) and _series(run.held_by or "") == _series(name)
    return run.state == "queued" and is_earlier


def _series(name: str) -> str:
    """Return what the executions of a back-fill have in common: their names but for the number at the end."""
    return name.rpartition("-")[0]


def _read(deployment: Deployment, row: Mapping[str, str]) -> Standing:
    ledger = deployment.ledger
    with answers(ledger):
        found = ledger.table.get_item(Key=dict(row), ConsistentRead=True).get("Item")
    if found is None:
        return Standing(None)
    told = json.loads(found["standing"])
    place = None if told["place"] is None else read_place(told["place"])
    abilities = None if told["abilities"] is None else Abilities(**told["abilities"])
    window = None if told["window"] is None else Window(*told["window"])
    counts = told.get("counts", {})
    return Standing(window, place, abilities, told["digest"], told["last_end"], told["answer"], counts)


def _keep(deployment: Deployment, row: Mapping[str, str], standing: Standing) -> None:
    ledger = deployment.ledger
    told = {
        "window": None if standing.window is None else [standing.window.start, standing.window.end],
        "place": None if standing.place is None else place_json(standing.place),
        "abilities": None if standing.abilities is None else asdict(standing.abilities),
        "digest": standing.digest,
        "last_end": standing.last_end,
        "answer": standing.answer,
        "counts": dict(standing.counts),
    }
    now = ledger.clock()
    marks = {"is_open": standing.window is not None, "touched": number(now)}
    if row["sk"] != SCAN:
        marks["expires"] = int(now + KEEP_S)
    with answers(ledger):
        ledger.table.put_item(Item={**row, "standing": json.dumps(told), **marks})

"""Scans at work: a page at a time, each placed and checkpointed at once, by servers or by the command line."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from random import random
from typing import Any

from geodl_core.catalog.model_versions import reference
from geodl_core.catalog.models import find_model
from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.run.order import Order
from geodl_core.domain.run.state import pause_s
from geodl_core.domain.scan.place import first_place, place_json, read_place
from geodl_core.domain.scan.windows import Window, scan_window
from geodl_core.domain.watch.orders import orders_of
from geodl_core.domain.watch.watch import Source, Watch
from geodl_core.errors import GeodlError, InputError, UnavailableError
from geodl_core.service.ledger.runs import ready_orders
from geodl_core.service.ledger.watches import StoredWatch, read_stored_watch
from geodl_core.service.scans.pages import Found, Turned, first_abilities, make_plan, turn_page
from geodl_core.service.scans.scans import (
    NO_COUNTS,
    Advance,
    Asked,
    Scan,
    fail_scan,
    is_hopeless,
    last_end,
    lease_scan,
    move_scan,
    open_scan,
    postpone_scan,
    read_scan,
    unfinished_scan,
)
from geodl_core.service.scans.stac_search import Abilities, Later, StacSearch
from geodl_core.service.services import Services

MOST_NOTES = 20
WAIT_S = 1.0
"""Before a command line looks again at a scan that a server is working on."""


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan found and did, so far or in all."""

    found: int
    """Items that the API gave."""
    matched: int
    """That the watch wants."""
    ordered: int
    """Runs that are new."""
    present: int
    """That had been ordered before."""
    refused: Mapping[str, int]
    """Reason of `domain.scan.check` → Items."""
    notes: Mapping[str, int]
    """What was wrong with the API's pages → how often."""
    pages: int
    share: float
    """Of the window that was gone through, in [0, 1]."""
    state: str
    """`open`, `held`, `done` or `failed`."""


Listen = Callable[[ScanReport], None]
Pause = Callable[[float], None]
Wait = Callable[[float, str], None]
"""As `Pause`, and is told why."""


def scan_watch(services: Services, watch: Watch, window: Window | None, listen: Listen, pause: Pause) -> ScanReport:
    """Scan for a watch until the window's end, from where an earlier scan of it was left.

    Args:
        services: catalog and ledger.
        watch: that is kept in the ledger.
        window: None for what a scheduled scan would look at now, or for the one that is under way.
        listen: is told after each page.
        pause: waits so many seconds.

    Raises:
        UnavailableError: the API does not answer; the same call goes on later.
        InputError: the watch cannot be scanned for.
    """
    ledger = services.ledger
    # Said before anything is kept.
    make_plan(watch, "scan", window or Window(0, 1), Abilities("", "POST", has_filter=False, has_query=False))
    model_of(services, watch)
    started = unfinished_scan(ledger, watch.name) if window is None else None
    if started is None:
        asked = Asked(watch.name, "scan", window or next_window(services, watch), priority=watch.priority)
        started = open_scan(ledger, asked)
    return run_scan(services, started.id, listen, pause)


def run_scan(services: Services, key: str, listen: Listen, pause: Pause) -> ScanReport:
    """Work on a scan until it is done or held; others may do so too at the same time.

    Raises:
        UnavailableError: the API does not answer; the same call goes on later.
        InputError: the watch cannot be scanned for.
    """
    ledger = services.ledger
    current = read_scan(ledger, key)
    while current.state == "open":
        scan = lease_scan(ledger, key)
        if scan is None:
            pause(min(WAIT_S, max(0.05, current.not_before - ledger.clock())))
        else:
            work_on(services, scan)
        current = read_scan(ledger, key)
        listen(report_of(current))
    if current.state == "failed":
        raise _error_of(current)
    return report_of(current)


def scan_once(services: Services, chance: Callable[[], float] = random) -> int:
    """Do one page of the most urgent scan; return how many pages that were: 0 where there is nothing to do."""
    scan = lease_scan(services.ledger)
    if scan is None:
        return 0
    work_on(services, scan, chance)
    return 1


def work_on(services: Services, scan: Scan, chance: Callable[[], float] = random) -> None:
    """Do one page of a scan that was lent to the caller; what goes wrong is noted with it."""
    try:
        stored = read_stored_watch(services.ledger, scan.watch)
        with StacSearch(source_of(stored.watch).api) as search:
            later = _step(services, scan, stored, search)
        if later is not None:
            raise_when_hopeless(later, scan)
            postpone_scan(services.ledger, scan, later.pause_s or pause_s(scan.tries, chance()), {})
    except UnavailableError as error:
        if is_hopeless(scan.tries):
            fail_scan(services.ledger, scan, error)
        else:
            postpone_scan(services.ledger, scan, pause_s(scan.tries, chance()), {})
    except GeodlError as error:
        fail_scan(services.ledger, scan, error)


def next_window(services: Services, watch: Watch) -> Window:
    """Return what a scheduled scan of a watch looks at now."""
    ledger = services.ledger
    return scan_window(ledger.clock(), source_of(watch).lookback_days, last_end(ledger, watch.name))


def source_of(watch: Watch) -> Source:
    """Return the API that a watch looks into."""
    return watch.source or Source()


def model_of(services: Services, watch: Watch) -> str:
    """Return `NAME@VERSION` of the model that a watch means now.

    Raises:
        ModelError: there is none.
    """
    return reference(find_model(services.catalog, watch.model))


def orders_for(watch: Watch, model: str, found: tuple[Found, ...]) -> list[Order]:
    """Return what a watch orders for Items that it wants."""
    return [orders_of(watch, each.item, model) for each in found]


def report_of(scan: Scan) -> ScanReport:
    """Return what a scan found and did so far."""
    counts = scan.counts
    share = 1.0 if scan.state == "done" else 0.0
    if scan.place is not None and scan.state != "done":
        place = read_place(scan.place)
        share = min(1.0, (scan.until - place.until) / (scan.until - scan.since)) if place.basis == 0 else 1.0
    numbers = {name: int(counts[name]) for name in ("found", "matched", "ordered", "present", "pages")}
    return ScanReport(
        **numbers, refused=counts.get("refused", {}), notes=counts.get("notes", {}), share=share, state=scan.state
    )


def counts_after(counts: Mapping[str, Any], turned: Turned) -> dict[str, Any]:
    """Return the counts of a scan with one page more; what is ordered is not counted here."""
    notes = Counter(counts.get("notes", {}))
    if turned.note and (turned.note in notes or len(notes) < MOST_NOTES):
        notes[turned.note] += 1
    return {
        **counts,
        "pages": counts["pages"] + 1,
        "found": counts["found"] + turned.items,
        "matched": counts["matched"] + len(turned.found),
        "refused": dict(Counter(counts.get("refused", {})) + Counter(turned.refused)),
        "notes": dict(notes),
    }


def raise_when_hopeless(later: Later, scan: Scan) -> None:
    """Give up where one page was tried often enough.

    Raises:
        UnavailableError: it was.
    """
    if is_hopeless(scan.tries):
        raise UnavailableError(f"{later.text}, in {scan.tries} tries", hint="the same command goes on from there later")


def _step(services: Services, scan: Scan, stored: StoredWatch, search: StacSearch) -> Later | None:
    """Turn one page: its orders and the scan's new place are stored together."""
    abilities = Abilities(**scan.api) if scan.api else first_abilities(search)
    plan = make_plan(stored.watch, scan.kind, scan.window, abilities)
    is_same = scan.place is not None and scan.digest == plan.digest
    place = read_place(scan.place) if is_same and scan.place is not None else first_place(plan.course)
    turned = turn_page(plan, abilities, place, search)
    if isinstance(turned, Later):
        return turned
    wanted = orders_for(stored.watch, model_of(services, stored.watch), turned.found) if turned.found else []
    orders = ready_orders(wanted)
    counts = counts_after(scan.counts if is_same or scan.place is None else NO_COUNTS, turned)
    following = None if turned.place is None else place_json(turned.place)
    advance = Advance(following, asdict(turned.abilities), plan.digest, counts)
    brakes = [most for most in (stored.watch.max_runs_per_day, scan.brake) if most is not None]
    move_scan(services.ledger, scan, advance, orders, min(brakes, default=None))
    return None


def _error_of(scan: Scan) -> GeodlError:
    """Return the error that ended a scan, of the nearest class that says whether to try again."""
    told = scan.error or {}
    kind = UnavailableError if told.get("class") in ("UnavailableError", "StoreError", "CatalogError") else InputError
    return kind(hide_secrets(str(told.get("message", "the scan failed"))), told.get("hint"))

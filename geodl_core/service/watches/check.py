"""Whether a watch serves, before it is kept; and what all watches say of one Item."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from geodl_core.catalog.model_versions import reference
from geodl_core.catalog.models import find_model
from geodl_core.domain.run.options import command_options
from geodl_core.domain.watch.filters import read_filter
from geodl_core.domain.watch.watch import Watch, read_watch
from geodl_core.errors import InputError
from geodl_core.service.jobs.read_job import read_itemless_job
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import DAY_S
from geodl_core.service.ledger.tables import RUNS
from geodl_core.service.ledger.watches import StoredWatch, put_watch
from geodl_core.service.scans.scheduler import check_schedule
from geodl_core.service.services import Services
from geodl_core.service.watches.judge import lookup_in
from geodl_core.service.watches.known import Known, model_of_watch
from geodl_core.service.watches.tested import KeptWatch, Tested, ask_watches


def keep_watch(services: Services, document: Any, place: str, *, replaces: bool) -> StoredWatch:
    """Keep a watch that serves.

    Args:
        services: catalog and ledger.
        document: from JSON or YAML.
        place: what it is called in errors.
        replaces: one of the same name.

    Raises:
        InputError: it cannot be read, its filter is none, its model does not take its arguments, or there is one of
            this name already.
        ModelError: its model is not registered, or does not serve.
    """
    watch = read_watch(document, place)
    require_sound(services, watch)
    return put_watch(services.ledger, watch, replaces=replaces)


def require_sound(services: Services, watch: Watch) -> None:
    """Make sure that a watch can be asked, and that its model takes what it would order.

    Raises:
        InputError: as `keep_watch`.
        ModelError: as `keep_watch`.
    """
    name = f"watch {watch.name}"
    if watch.filter is not None:
        read_filter(watch.filter, f"{name}: filter")
    try:
        if watch.schedule is not None:
            check_schedule(watch.schedule)
        # By its reference: a name alone might also be that of a file here.
        model = reference(find_model(services.catalog, watch.model))
        read_itemless_job(model, command_options(watch.options), (Path(), services.ledger.location))
    except InputError as error:
        raise type(error)(f"{name}: {error.message}", error.hint) from error


def examine(services: Services, watches: Sequence[StoredWatch], item: Mapping[str, Any]) -> list[Tested]:
    """Return what watches say of an Item, which need not be in the catalog."""
    counts = runs_today(services.ledger)
    kept = [KeptWatch(one.watch, one.is_paused, counts.get(one.watch.name, 0)) for one in watches]
    return ask_watches(kept, item, lookup_in(services), partial(model_of_watch, services, Known()))


def runs_today(ledger: Ledger) -> dict[str, int]:
    """Return how many runs each watch has ordered that count for today (UTC)."""
    today = int(ledger.clock() // DAY_S)
    query = sa.select(RUNS.c.watch, sa.func.count()).where(RUNS.c.day == today, RUNS.c.watch.is_not(None))
    with ledger.reading() as connection:
        return {str(watch): int(count) for watch, count in connection.execute(query.group_by(RUNS.c.watch))}

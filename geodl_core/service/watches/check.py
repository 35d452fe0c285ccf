"""Whether a watch serves, before it is kept; and what all watches say of one Item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from geodl_core.catalog.model_versions import name_of, reference
from geodl_core.catalog.models import find_model
from geodl_core.domain.naming import slug
from geodl_core.domain.run.options import command_options
from geodl_core.domain.watch.explain import Check, Standing, explain
from geodl_core.domain.watch.filters import read_filter
from geodl_core.domain.watch.loops import trace
from geodl_core.domain.watch.watch import Watch, read_watch
from geodl_core.errors import InputError, ModelError
from geodl_core.service.jobs.read_job import read_itemless_job
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import DAY_S
from geodl_core.service.ledger.tables import RUNS
from geodl_core.service.ledger.watches import StoredWatch, put_watch
from geodl_core.service.scans.scheduler import check_schedule
from geodl_core.service.services import Services
from geodl_core.service.watches.judge import lookup_in


@dataclass(frozen=True, slots=True)
class Tested:
    """What a watch says of an Item."""

    name: str
    checks: tuple[Check, ...]

    @property
    def matches(self) -> bool:
        return all(check.passed for check in self.checks)


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
    lineage = trace(item, lookup_in(services))
    counts = runs_today(services.ledger)
    tested = []
    for stored in watches:
        watch = stored.watch
        name, check = _model(services, watch)
        checks = explain(watch, item, Standing(stored.is_paused, counts.get(watch.name, 0), name, lineage))
        tested.append(Tested(watch.name, (*checks, check)))
    return tested


def runs_today(ledger: Ledger) -> dict[str, int]:
    """Return how many runs each watch has ordered that count for today (UTC)."""
    today = int(ledger.clock() // DAY_S)
    query = sa.select(RUNS.c.watch, sa.func.count()).where(RUNS.c.day == today, RUNS.c.watch.is_not(None))
    with ledger.reading() as connection:
        return {str(watch): int(count) for watch, count in connection.execute(query.group_by(RUNS.c.watch))}


def _model(services: Services, watch: Watch) -> tuple[str, Check]:
    """Return the name of a watch's model, as results have it, and whether there is one."""
    try:
        item = find_model(services.catalog, watch.model)
    except ModelError as error:
        return slug(watch.model.partition("@")[0]), Check("model", False, error.message)
    return name_of(item), Check("model", True, reference(item))

"""What a follower of the catalog remembers between its steps: the index of watches, and versions of models."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from geodl_core.catalog.model_versions import name_of, reference
from geodl_core.catalog.models import find_model
from geodl_core.domain.watch.match import WatchIndex, index_watches
from geodl_core.errors import ModelError
from geodl_core.service.ledger.watches import StoredWatch, list_watches, revision
from geodl_core.service.services import Services
from geodl_core.service.watches.remarks import prepare_remarks
from geodl_core.service.watches.verdict import Ran

LOG = logging.getLogger("geodl.watches")


@dataclass(slots=True)
class Known:
    """Remembered; one for each thread that follows. Empty at first."""

    revision: int = -1
    """Of the watches in the index; -1 where there is no index yet."""
    index: WatchIndex = field(default_factory=lambda: index_watches(()))
    since: Mapping[str, float] = field(default_factory=dict)
    """Watch → from when on what is published starts its runs, seconds since 1970."""
    brakes: Mapping[str, int] = field(default_factory=dict)
    models: dict[str, Ran | str] = field(default_factory=dict)
    """What watches name as their model → that model, or why there is none."""
    position: int = -1
    """In the outbox, after the last step."""
    pruned_at: float = 0.0
    token: str | None = None
    """Of a reconcile scan's next page."""
    scan_began: float = 0.0


def refresh(services: Services, known: Known, picks: "Callable[[StoredWatch], bool] | None" = None) -> None:
    """Build the index anew where watches have changed.

    Args:
        services: whose ledger has the watches.
        known: is brought up to date.
        picks: which watches; by default those that look at published Items and are not paused.
    """
    current = revision(services.ledger)
    if current == known.revision:
        return
    prepare_remarks(services.ledger)
    stored = [one for one in list_watches(services.ledger) if (picks or _is_awake)(one)]
    known.index = index_watches(one.watch for one in stored)
    known.since = {one.watch.name: one.since for one in stored}
    most = {one.watch.name: one.watch.max_runs_per_day for one in stored}
    known.brakes = {name: runs for name, runs in most.items() if runs is not None}
    known.models.clear()
    known.revision = current
    for watch, why in known.index.broken:
        LOG.error("watch cannot be read", extra={"facts": {"watch": watch.name, "problem": why}})


def model_of_watch(services: Services, known: Known, asked: str) -> Ran:
    """Return the model that a watch names, as the registry has it; it is looked for once.

    Raises:
        ModelError: there is none.
    """
    found = known.models.get(asked)
    if found is None:
        try:
            item = find_model(services.catalog, asked)
            found = Ran(reference(item), name_of(item))
        except ModelError as error:
            found = error.message
        known.models[asked] = found
    if isinstance(found, str):
        raise ModelError(found, hint="register it with geodl model add")
    return found


def _is_awake(stored: StoredWatch) -> bool:
    return stored.watch.mode == "item" and not stored.is_paused

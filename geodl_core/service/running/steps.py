"""The steps that a server does beside answering: each looks for one kind of work, and does a bounded piece of it."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from geodl_core.service.access.auth import TokenUse
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import ENDED
from geodl_core.service.ledger.runs import prune_runs
from geodl_core.service.ledger.tables import UNITS
from geodl_core.service.running.loops import Step
from geodl_core.service.scans.scan_watch import scan_once
from geodl_core.service.scans.scheduler import fire_due
from geodl_core.service.services import Services
from geodl_core.service.triggers.folder import publish_folder_once, watched_folder
from geodl_core.service.triggers.publish import Published
from geodl_core.service.watches.dispatch import dispatch_once
from geodl_core.service.watches.existing import reconcile_once
from geodl_core.service.watches.known import Known
from geodl_core.service.webhooks.deliver import Delivery, deliver_once

LOG = logging.getLogger("geodl.server")
LOOK_S = 0.2
"""Between two looks at what other processes have written; a write through this server is seen at once."""
FOLDER_S = 2.0
SCAN_S = 1.0
WEBHOOKS_S = 0.5
RECONCILE_S = 600.0
UPKEEP_S = 60.0
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class StepOptions:
    """Which steps, and what they need."""

    delivery: Delivery = field(default_factory=Delivery)
    """How messages to webhooks are made and sent."""
    has_scheduler: bool = True
    """Whether scheduled watches fire here; what others have fired is worked on in any case."""
    folders: tuple[tuple[Path, str | None], ...] = ()
    """Folders whose new files are published, and the Collection of those that name none."""
    keeps_runs_days: int = 365
    """Runs that ended are forgotten after that; their results stay."""


def server_steps(services: Services, options: StepOptions, use: TokenUse) -> tuple[Step, ...]:
    """Return the steps of a server.

    Args:
        services: catalog and ledger.
        options: which.
        use: of tokens, to be written down.
    """
    ledger, known = services.ledger, Known()

    def upkeep() -> int:
        use.flush(ledger)
        prune_runs(ledger, ledger.clock() - options.keeps_runs_days * DAY_S)
        return 0

    def maintain() -> int:
        # pgstac leaves some of its work for later; a catalog file has none.
        do = getattr(services.catalog, "maintain", None)
        if do is not None:
            do()
        return 0

    late = Known()
    scheduler = (Step("scheduler", lambda: fire_due(ledger, ledger.clock()), SCAN_S),) if options.has_scheduler else ()
    return (
        Step("dispatch", lambda: dispatch_once(services, known), LOOK_S, is_woken=True),
        *scheduler,
        Step("scans", lambda: scan_once(services), SCAN_S, is_woken=True),
        Step("webhooks", lambda: deliver_once(ledger, options.delivery), WEBHOOKS_S),
        Step("reconcile", lambda: reconcile_once(services, late), RECONCILE_S),
        *(_folder_step(services, path, collection) for path, collection in options.folders),
        Step("upkeep", upkeep, UPKEEP_S),
        Step("catalog", maintain, UPKEEP_S),
    )


def end_leases(ledger: Ledger, worker: str) -> None:
    """Take back what was lent to a worker that is known to have died, without waiting until it is missed."""
    with ledger.writing() as connection:
        ended = UNITS.update().where(UNITS.c.worker == worker, UNITS.c.state == "leased").values(expires=ENDED)
        connection.execute(ended)


def _folder_step(services: Services, path: Path, collection: str | None) -> Step:
    folder = watched_folder(path, collection)
    return Step(f"folder {path.name}", lambda: publish_folder_once(services, folder, _tell), FOLDER_S)


def _tell(published: Published) -> None:
    facts = {"file": published.place, "outcome": published.outcome, "item": published.item_id, "text": published.text}
    LOG.info("published", extra={"facts": facts})

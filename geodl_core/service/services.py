"""What the routes of a server work with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from geodl_core.catalog.api.backend import ServedCatalog
from geodl_core.engine.register_scene import Catalog
from geodl_core.service.ledger.database import Ledger


class FullCatalog(ServedCatalog, Catalog, Protocol):
    """A catalog that is served, registers results, and says what was written to it."""

    def outbox(self, after: int, limit: int) -> list[Any]:
        """Return the writes after a number, oldest first, as `catalog.sqlite.OutboxRow`."""
        ...


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes of a server work with."""

    catalog: FullCatalog
    ledger: Ledger
    out: Path
    """Folder of results."""
    store: str | None = None
    """URL of an object store for plans, parts and results, where workers of other machines share them."""
    local_roots: tuple[Path, ...] = ()
    """Folders whose files Items that came over the network may name; elsewhere hrefs must be public URLs."""
    now: Callable[[], datetime] = utc_now

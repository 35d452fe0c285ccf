"""What watches say of one Item, whether it matches or not: the same wherever watches are kept."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from geodl_core.domain.naming import slug
from geodl_core.domain.watch.explain import Check, Standing, explain
from geodl_core.domain.watch.loops import Lineage, Lookup, trace
from geodl_core.domain.watch.watch import Watch
from geodl_core.errors import ModelError
from geodl_core.service.watches.verdict import ModelOf


@dataclass(frozen=True, slots=True)
class KeptWatch:
    """A watch, and what its keeper knows of it."""

    watch: Watch
    is_paused: bool
    runs_today: int
    """That count for its brake (UTC); of a watch without one nobody needs them."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What a watch says of an Item."""

    name: str
    checks: tuple[Check, ...]

    @property
    def matches(self) -> bool:
        return all(check.passed for check in self.checks)


def ask_watches(
    watches: Iterable[KeptWatch], item: Mapping[str, Any], lookup: Lookup, model_of: ModelOf
) -> list[Tested]:
    """Return what watches say of an Item, which need not be in a catalog; nothing is ordered.

    Args:
        watches: to be asked.
        item: a STAC Item.
        lookup: finds the Items that it was derived from.
        model_of: finds models.

    Raises:
        UnavailableError: what is asked does not answer now.
    """
    lineage = trace(item, lookup)
    return [_tested(kept, item, lineage, model_of) for kept in watches]


def told_tests(tested: Iterable[Tested]) -> list[dict[str, Any]]:
    """Return for JSON which watches an Item matches, and every check's outcome."""
    return [
        {"watch": one.name, "matches": one.matches, "checks": [asdict(check) for check in one.checks]} for one in tested
    ]


def _tested(kept: KeptWatch, item: Mapping[str, Any], lineage: Lineage, model_of: ModelOf) -> Tested:
    watch = kept.watch
    try:
        model = model_of(watch.model)
        name, check = model.name, Check("model", True, model.reference)
    except ModelError as error:
        # As its results would have it, if it were there.
        name, check = slug(watch.model.partition("@")[0]), Check("model", False, error.message)
    checks = explain(watch, item, Standing(kept.is_paused, kept.runs_today, name, lineage))
    return Tested(watch.name, (*checks, check))

"""Where a result comes from: source Item, model and arguments, as its own Item tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.plan.job import Arguments
from geodl_core.io.package.package import ModelPackage


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a result comes from, as its Item tells."""

    source: Mapping[str, Any]
    """Item with absolute hrefs; of a mosaic the first."""
    model_word: str
    """What names the model on a command line; a model that came as text is that text."""
    model_item_href: str | None
    """Of the STAC Item that describes the model, where there is one."""
    emd_text: bytes
    """The definition, verbatim."""
    arguments: Arguments
    collection: str
    """Of the output."""
    others: tuple[Mapping[str, Any], ...] = ()
    """Further Items of a mosaic, in order."""


def origin_of(
    items: Sequence[Mapping[str, Any]], package: ModelPackage, arguments: Arguments, collection: str
) -> Origin:
    """Return where a result of a package comes from: an Item, or those of a mosaic in order."""
    is_text = package.location == "<text>"
    word = package.emd_text.decode() if is_text else hide_secrets(package.location)
    return Origin(items[0], word, package.item_href, package.emd_text, arguments, collection, tuple(items[1:]))

"""What a catalog that can be served answers: documents with their etags, pages both ways, and refusals."""

from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["create", "replace", "put"]
"""`create`: refuse what is there; `replace`: refuse what is not; `put`: take both."""
IfMatch = frozenset[str] | None
"""Etags of which the stored document must have one; None asks for none."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as the catalog keeps it."""

    content: dict[str, Any]
    etag: str
    """Hex digits that change with every change of the content."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a write was not made: an answer, no error. Nothing of the write is stored."""

    reason: Literal["missing", "taken", "changed"]
    """No such document; its id is in use; it is another one than the writer has seen."""
    message: str


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a search."""

    items: tuple[dict[str, Any], ...]
    next_token: str | None
    """Continues the search; None on the last page."""
    prev_token: str | None
    """Leads back; None on the first page."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bar of a histogram."""

    key: str
    count: int
    low: float | None = None
    """Start of a range of numbers, inclusive; None where the key is a value."""
    high: float | None = None
    """End of a range of numbers, exclusive but for the last."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A number about all Items that match, or a histogram of them."""

    name: str
    value: int | str | None = None
    """A count, or an RFC 3339 time; None for histograms, and for times of no Items."""
    buckets: tuple[Bucket, ...] | None = None
    overflow: int = 0
    """How many Items are in buckets that are not listed."""


def changed(name: str) -> Refusal:
    """Say that a document is not the one that the writer has seen."""
    return Refusal("changed", f"{name}: expected the state that If-Match names, found another one")

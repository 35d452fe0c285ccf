"""What the API needs of a catalog: the one place that a second backend has to fill."""

from collections.abc import Sequence
from typing import Any, Protocol

from geodl_core.catalog.answers import Aggregate, Found, IfMatch, Mode, Refusal, Stored
from geodl_core.domain.query import ItemQuery


class ServedCatalog(Protocol):
    """A catalog behind the API. Threads share it. Writes come with their row in the outbox, in one transaction."""

    def check(self) -> None:
        """Return if it can be read now, else raise CatalogError."""
        ...

    def collections(self) -> list[dict[str, Any]]:
        """Return all Collections, by id."""
        ...

    def read_collection(self, collection_id: str) -> Stored | None:
        """Return a Collection, None where there is none."""
        ...

    def write_collection(self, collection: dict[str, Any], mode: Mode, if_match: IfMatch = None) -> str | Refusal:
        """Write a Collection; return its new etag or why it was not written."""
        ...

    def delete_collection(self, collection_id: str, if_match: IfMatch = None) -> Refusal | None:
        """Delete a Collection and its Items."""
        ...

    def read_item(self, collection_id: str, item_id: str) -> Stored | None:
        """Return an Item, None where there is none."""
        ...

    def write_items(
        self, items: Sequence[dict[str, Any]], mode: Mode, if_match: IfMatch = None
    ) -> tuple[str, ...] | Refusal:
        """Write Items, all or none; return their new etags or why none was written."""
        ...

    def remove_item(self, collection_id: str, item_id: str, if_match: IfMatch = None) -> Refusal | None:
        """Delete an Item."""
        ...

    def find(self, query: ItemQuery, words: Sequence[str] = ()) -> Found:
        """Return a page of the Items that match and hold one of the words."""
        ...

    def count(self, query: ItemQuery, words: Sequence[str] = ()) -> int:
        """Return how many Items match."""
        ...

    def aggregate(
        self, query: ItemQuery, words: Sequence[str], names: Sequence[str], interval: str = "month"
    ) -> list[Aggregate]:
        """Return numbers and histograms over the Items that match."""
        ...

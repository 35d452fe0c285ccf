"""Pages of a catalog that fit into what a function may answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from geodl_core.catalog.answers import Found
from geodl_core.catalog.api.backend import ServedCatalog
from geodl_core.domain.query import ItemQuery

MOST_ITEMS = 250
PAGE_BYTES = 4_000_000
"""Of a page: Lambda answers 6 MB (developer guide, "Lambda quotas"), and GeoJSON goes as base64, a third larger."""
LINK_BYTES = 1_500
"""Of the links that an Item is served with, about."""


class SmallPages:
    """A catalog whose pages end where an answer would become too large; the rest comes with the next one.

    STAC API lets a server return fewer Items than `limit` says.

    Args:
        catalog: does all the work, and everything else is its.
    """

    def __init__(self, catalog: ServedCatalog) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def find(self, query: ItemQuery, words: Sequence[str] = ()) -> Found:
        """Return a page of the Items that match, as many as fit: one at least."""
        limit = min(query.limit, MOST_ITEMS)
        while True:
            found = self._catalog.find(replace(query, limit=limit), words)
            sizes = accumulate(map(_served_bytes, found.items))
            fitting = sum(size <= PAGE_BYTES for size in sizes)
            if fitting == len(found.items) or len(found.items) == 1:
                return found
            # Asked again, and not cut: the catalog's own tokens say where the next page begins. One that leads back has
            # other Items, then, and may be asked for a third time.
            limit = max(1, fitting)


def _served_bytes(item: Mapping[str, Any]) -> int:
    return len(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()) + LINK_BYTES

"""Items of stac-geoparquet files, geodl's own and those of stac-geoparquet, rustac or Planetary Computer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import to_json

from geodl_core.catalog.exchange.entries import MOST_ITEM_BYTES, Entry, problem
from geodl_core.catalog.exchange.item_rows import item_of
from geodl_core.errors import DataError, GeodlError, InputError, ItemError

SUFFIXES = (".parquet", ".geoparquet")
ROWS = 200
"""Read at a time."""
_KEYS = (b"stac-geoparquet", b"stac_geoparquet", b"stac:collections")


def read_parquet(path: Path) -> Iterator[Entry]:
    """Yield the Collections that a file tells of, then its Items.

    Raises:
        InputError: the file has no columns of Items.
        DataError: it is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow)
            yield from _collections(path, file.schema_arrow.metadata or {})
            number = 0
            for batch in file.iter_batches(batch_size=ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield _entry(f"{path}: row {number}", row)
    except (pa.ArrowException, OSError, OverflowError) as err:
        said = " ".join(str(err).split())[:120]
        raise DataError(f"{path}: expected a Parquet file that can be read, found: {said}") from err


def _entry(place: str, row: dict[str, Any]) -> Entry:
    try:
        item = item_of(row)
        if (size := len(to_json(item))) > MOST_ITEM_BYTES:
            raise ItemError(f"expected an Item of {MOST_ITEM_BYTES:,} bytes at most, found {size:,}")
        return Entry(place, item=item)
    except GeodlError as err:
        return problem(place, err)


def _check_columns(path: Path, schema: pa.Schema) -> None:
    lacking = [name for name in ("id", "geometry", "datetime") if name not in schema.names]
    if "properties" in schema.names and lacking == ["datetime"]:
        return
    if lacking:
        raise InputError(f"{path}: expected stac-geoparquet, found a table without {', '.join(lacking)}")
    if len(set(schema.names)) != len(schema.names):
        raise InputError(f"{path}: expected columns of different names, found one twice")


def _collections(path: Path, metadata: dict[bytes, bytes]) -> Iterator[Entry]:
    found: dict[str, Any] = {}
    for key in _KEYS:
        try:
            told = json.loads(metadata.get(key, b"{}"))
            several = told if key == b"stac:collections" else told.get("collections") or {}
            found |= several
            if isinstance(told.get("collection"), dict):
                found[str(told["collection"].get("id"))] = told["collection"]
        except (ValueError, AttributeError, TypeError, RecursionError):
            yield problem(str(path), ItemError(f"metadata {key.decode()}: expected Collections, found something else"))
    for name in sorted(found):
        if isinstance(found[name], dict) and found[name].get("type") == "Collection":
            yield Entry(f"{path}: collection {name}", collection=found[name])

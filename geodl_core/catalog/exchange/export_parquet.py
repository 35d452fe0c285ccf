"""A Collection as one file of stac-geoparquet (specification 1.0 on GeoParquet 1.1)."""

import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from stac_geoparquet.arrow import to_parquet

from geodl_core.catalog.exchange.item_rows import row_of
from geodl_core.catalog.exchange.item_shape import ItemShapes
from geodl_core.catalog.exchange.source import compact, ordered

GROUP_ROWS = 2_000
GROUP_BYTES = 16 * 2**20
"""Of Items as JSON in a row group, at most; the last one of it may reach beyond."""
_LENGTH = 4


def write_parquet(items: Iterable[dict[str, Any]], collection: dict[str, Any], target: Path) -> int:
    """Write Items to a file and return how many there were; without any, no file is written.

    Items pass twice: the columns follow from all of them. Between, they lie beside the file, compressed.

    Raises:
        InputError: the Items differ so much that no table holds them.
    """
    spool = target.with_name(f"{target.name}.spool")
    shapes, count = ItemShapes(), 0
    with spool.open("wb") as file:
        for item in items:
            shapes.feed(item)
            packed = zlib.compress(compact(item), 1)
            file.write(len(packed).to_bytes(_LENGTH))
            file.write(packed)
            count += 1
    if count:
        schema = shapes.schema(str(collection["id"]))
        reader = pa.RecordBatchReader.from_batches(schema, _batches(spool, shapes, schema))
        described = {str(collection["id"]): ordered(collection)}
        to_parquet(reader, target, collections=described, compression="zstd")
    spool.unlink()
    return count


def _batches(spool: Path, shapes: ItemShapes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    size = 0
    for text in _spooled(spool):
        rows.append(row_of(json.loads(text), shapes))
        size += len(text)
        if len(rows) == GROUP_ROWS or size > GROUP_BYTES:
            yield pa.RecordBatch.from_pylist(rows, schema)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema)


def _spooled(spool: Path) -> Iterator[bytes]:
    with spool.open("rb") as file:
        while head := file.read(_LENGTH):
            yield zlib.decompress(file.read(int.from_bytes(head)))

"""Detections as GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0/): WKB, with a column of bounds to filter by."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj

from geodl_core.domain.detection.detections import Detections
from geodl_core.domain.detection.placing import is_in_degrees
from geodl_core.domain.detection.table import BoundingBox, VectorFacts, VectorSpec
from geodl_core.domain.grid import WGS84, Coordinates
from geodl_core.io.store import atomic_file
from geodl_core.io.vector.columns import (
    COVERING,
    FOUR_SIDES,
    GEOMETRY,
    SIDES,
    Batch,
    described,
    detection_batches,
    schema_of,
)

VERSION = "1.1.0"
GROUPS = 64
FEWEST_ROWS, MOST_ROWS = 1 << 11, 1 << 16
COMPRESSION = "zstd"
LEVEL = 1
"""Level 3 takes half as long again and saves a twentieth."""


class Extents:
    """Gathers where the rows of batches lie, and what they are."""

    def __init__(self, crs: str) -> None:
        self._is_in_degrees = is_in_degrees(crs)
        self._types: set[str] = set()
        self._bounds: list[Coordinates] = []

    def feed(self, batch: Batch) -> None:
        """Take in a batch."""
        self._types |= batch.geometry_types
        west, south, east, north = batch.bounds
        crosses = west > east
        plain = np.where(crosses, -180, west).min(), np.where(crosses, 180, east).max()
        # The same from 0 to 360; where an object lies across 0, all around.
        turned = west + 360 * (west < 0), east + 360 * (east < 0)
        around = (0.0, 360.0) if (turned[0] > turned[1]).any() else (turned[0].min(), turned[1].max())
        self._bounds.append(np.array([*plain, south.min(), north.max(), *around]))

    def geometry_types(self) -> tuple[str, ...]:
        """Return the names of all types, sorted."""
        return tuple(sorted(self._types))

    def bbox(self) -> BoundingBox | None:
        """Return xmin, ymin, xmax, ymax; west > east where that is narrower (RFC 7946, section 5.2)."""
        if not self._bounds:
            return None
        every = np.array(self._bounds)
        west, south, near = every[:, [0, 2, 4]].min(axis=0).tolist()
        east, north, far = every[:, [1, 3, 5]].max(axis=0).tolist()
        if self._is_in_degrees and east - west > 180 and far - near < east - west:
            west, east = near, far - 360
        return west, south, east, north


def write_geoparquet(path: Path, detections: Detections, spec: VectorSpec) -> VectorFacts:
    """Write detections as GeoParquet, whole or not at all.

    Rows follow the Hilbert curve through the objects' centres, so that a filter on `bbox` reads few row groups. Rows
    are placed and written one row group at a time. The bytes depend on the detections and the spec alone.

    Args:
        path: of the file, replaced where there is one.
        detections: in any order.
        spec: what goes with them.

    Raises:
        ItemError: an object has no place in the output CRS.
        StoreError: the file cannot be written.
    """
    schema, extents, groups = schema_of(spec), Extents(spec.crs), 0
    # Of geometries, bounds and fractions no two are alike.
    unlike = (pa.binary(), FOUR_SIDES, pa.float32(), pa.float64())
    coded = [field.name for field in schema if field.type not in unlike]
    with atomic_file(path) as draft:
        writer = pq.ParquetWriter(
            draft,
            schema,
            compression=COMPRESSION,
            compression_level=LEVEL,
            use_dictionary=coded,
            write_statistics=_filterable(schema),
        )
        with writer:
            for batch in detection_batches(detections, spec, rows_per_group(len(detections))):
                writer.write_batch(batch.columns, row_group_size=len(batch.columns))
                extents.feed(batch)
                groups += 1
            writer.add_key_value_metadata({"geo": json.dumps(geo_metadata(spec, extents), separators=(",", ":"))})
    return facts_of(detections, spec, extents, groups)


def facts_of(detections: Detections, spec: VectorSpec, extents: Extents, groups: int | None) -> VectorFacts:
    """Return what is known of a file once all batches were fed to `extents`; `groups` None: of another format."""
    ids, counts = np.unique(detections.class_ids, return_counts=True)
    return VectorFacts(
        rows=len(detections),
        columns=tuple(column for column in described(spec) if column.name != COVERING or groups is not None),
        geometry_types=extents.geometry_types(),
        crs=spec.crs,
        bbox=extents.bbox(),
        row_groups=groups,
        counts=dict(zip(ids.tolist(), counts.tolist(), strict=True)),
    )


def rows_per_group(rows: int) -> int:
    """Return a power of two of rows, of which about 64 groups hold all: small ones filter, large ones compress."""
    wanted = 1 << max(0, -(-rows // GROUPS) - 1).bit_length()
    return min(max(wanted, FEWEST_ROWS), MOST_ROWS)


def geo_metadata(spec: VectorSpec, extents: Extents) -> dict[str, Any]:
    """Return the `geo` document of GeoParquet 1.1."""
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": list(extents.geometry_types()), "edges": "planar"}
    crs = pyproj.CRS.from_user_input(spec.crs)
    if crs != pyproj.CRS.from_user_input(WGS84):  # which is what no CRS means
        column["crs"] = crs.to_json_dict()
    if spec.geometry == "polygon":
        column["orientation"] = "counterclockwise"
    bbox = extents.bbox()
    if bbox is not None:
        column["bbox"] = list(bbox)
    column["covering"] = {"bbox": {side: [COVERING, side] for side in SIDES}}
    return {"version": VERSION, "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _filterable(schema: pa.Schema) -> list[str]:
    """Return the paths of all columns but geometry, whose least and greatest bytes tell nothing."""
    plain = [name for name in schema.names if name not in (GEOMETRY, COVERING)]
    return [*plain, *(f"{COVERING}.{side}" for side in SIDES)]

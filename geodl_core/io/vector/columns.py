"""Detections as Arrow columns, the same whatever the format they are written in."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geodl_core.domain.detection.areas import areas_m2
from geodl_core.domain.detection.detections import Detections, take
from geodl_core.domain.detection.hilbert import spatial_order
from geodl_core.domain.detection.placing import Placed, place_boxes, place_centres, place_outlines
from geodl_core.domain.detection.table import Column, VectorSpec, moment_of
from geodl_core.domain.grid import WGS84, Coordinates
from geodl_core.io.vector.arrays import coded, numbers
from geodl_core.io.vector.wkb import to_wkb

GEOMETRY, COVERING = "geometry", "bbox"
SIDES = ("xmin", "ymin", "xmax", "ymax")
TEXT = pa.dictionary(pa.int32(), pa.string())
FOUR_SIDES = pa.struct([pa.field(side, pa.float32(), nullable=False) for side in SIDES])
MOMENT = pa.timestamp("ms", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, and where they lie."""

    columns: pa.RecordBatch
    geometry_types: frozenset[str]
    bounds: Coordinates
    """As `Placed.bounds`."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What columns are made of."""

    detections: Detections
    placed: Placed
    spec: VectorSpec
    geometry: pa.Array


@dataclass(frozen=True, slots=True)
class _Kind:
    """A column: what it holds, and what makes it of some rows."""

    name: str
    type: pa.DataType
    description: str
    make: Callable[[_Rows], pa.Array]
    nullable: bool = False


def schema_of(spec: VectorSpec) -> pa.Schema:
    """Return the schema of the batches."""
    return pa.schema([pa.field(kind.name, kind.type, kind.nullable) for kind in _kinds(spec)])


def described(spec: VectorSpec) -> tuple[Column, ...]:
    """Return the columns as the STAC table extension tells of them."""
    return tuple(Column(kind.name, _type_name(kind.type), kind.description) for kind in _kinds(spec))


def detection_batches(detections: Detections, spec: VectorSpec, rows: int) -> Iterator[Batch]:
    """Yield the detections as Arrow, along the Hilbert curve of their centres, some rows at a time.

    Args:
        detections: in any order; where no two rows agree in all they say, the result does not depend on it.
        spec: of the columns.
        rows: of a batch.

    Raises:
        ItemError: an object has no place in the output CRS.
    """
    schema, kinds = schema_of(spec), _kinds(spec)
    order = spatial_order(detections, spec.grid)
    for start in range(0, len(order), rows):
        some = take(detections, order[start : start + rows])
        placed = _place(some, spec)
        geometry, types = to_wkb(placed)
        made = _Rows(some, placed, spec, geometry)
        batch = pa.RecordBatch.from_arrays([kind.make(made) for kind in kinds], schema=schema)
        yield Batch(batch, frozenset(types), placed.bounds)


def _kinds(spec: VectorSpec) -> tuple[_Kind, ...]:
    """Return the columns in order."""
    shape = "Centre of the object's box" if spec.geometry == "point" else "Outline of the object"
    area = _Kind("area_m2", pa.float64(), "Area of the outline on the ellipsoid, square metres", _areas)
    return (
        _Kind(GEOMETRY, pa.binary(), f"{shape}, in {spec.crs[:60]}", lambda rows: rows.geometry),
        _Kind(COVERING, FOUR_SIDES, "Bounds of the geometry, rounded outwards", _covering),
        *_said_by_model(spec),
        *(_box_side(place) for place in range(4)),
        _Kind("tile", pa.int32(), "Tile of the job that found the object", lambda rows: numbers(rows.detections.tiles)),
        _Kind("source_id", TEXT, "Item that was looked at", partial(_constant, lambda spec: spec.source_id)),
        _Kind("datetime", MOMENT, "When the source was taken", _moments, nullable=True),
        _Kind("job_id", TEXT, "Job that found the object", partial(_constant, lambda spec: spec.job_id)),
        _Kind("model", TEXT, "Model that found the object", partial(_constant, lambda spec: spec.model)),
        _Kind("model_version", TEXT, "Version of the model", partial(_constant, lambda spec: spec.version), True),
        *((area,) if spec.with_area else ()),
    )


def _said_by_model(spec: VectorSpec) -> tuple[_Kind, ...]:
    """Return class and score, in ArcGIS's words where asked for."""
    names = _Kind("Class" if spec.arcgis_fields else "class_name", TEXT, "Name of the class", _class_names)
    ids = _Kind(
        "Classvalue" if spec.arcgis_fields else "class_id",
        pa.int32(),
        "Number of the class in the model definition",
        lambda rows: numbers(rows.detections.class_ids),
    )
    if spec.arcgis_fields:
        return names, _Kind("Confidence", pa.float64(), "Score of the model, 0 to 100", _percents), ids
    score = _Kind("score", pa.float32(), "Score of the model, 0 to 1", lambda rows: numbers(rows.detections.scores))
    return ids, names, score


def _place(detections: Detections, spec: VectorSpec, crs: str | None = None) -> Placed:
    """Return where detections lie; in another CRS, their outlines whatever the geometry that was asked for."""
    if spec.geometry == "point" and crs is None:
        return place_centres(detections.boxes, spec.grid, spec.crs)
    if detections.outlines is None:
        return place_boxes(detections.boxes, spec.grid, crs or spec.crs)
    return place_outlines(detections.outlines, spec.grid, crs or spec.crs, spec.simplify_px)


def _areas(rows: _Rows) -> pa.Array:
    is_there = rows.spec.crs == WGS84 and rows.spec.geometry == "polygon"
    return numbers(areas_m2(rows.placed if is_there else _place(rows.detections, rows.spec, WGS84)))


def _covering(rows: _Rows) -> pa.Array:
    """Return bounds in half the bytes; what crosses the antimeridian lies on both its sides, so goes all around."""
    west, south, east, north = rows.placed.bounds
    crosses = west > east
    exact = np.where(crosses, -180, west), south, np.where(crosses, 180, east), north
    rounded = [_outwards(side, np.inf if high else -np.inf) for side, high in zip(exact, (0, 0, 1, 1), strict=True)]
    return pa.StructArray.from_arrays([numbers(side) for side in rounded], fields=list(FOUR_SIDES))


def _outwards(exact: npt.NDArray[np.float64], towards: float) -> npt.NDArray[np.float32]:
    """Return the nearest float32 that does not lie on the other side."""
    near = exact.astype(np.float32)
    falls_short = near > exact if towards < 0 else near < exact
    return np.where(falls_short, np.nextafter(near, np.float32(towards)), near)


def _box_side(place: int) -> _Kind:
    words = f"{('Left', 'Upper', 'Right', 'Lower')[place]} side of the object's box, in pixels of the job's grid"
    return _Kind(f"box_px_{SIDES[place]}", pa.float32(), words, lambda rows: numbers(rows.detections.boxes[:, place]))


def _class_names(rows: _Rows) -> pa.Array:
    """Return names; the dictionary is the definition's, so that it is the same of all batches where ids are known."""
    named = {entry.value: entry.name for entry in rows.spec.classes}
    ids, positions = np.unique(rows.detections.class_ids, return_inverse=True)
    found = [named.get(int(value), str(value)) for value in ids]
    words = list(dict.fromkeys([*named.values(), *found]))
    codes = np.array([words.index(word) for word in found], np.int32)
    return coded(codes[positions], words)


def _percents(rows: _Rows) -> pa.Array:
    """Return scores of 0 to 100, without the digits that a float32 of 0 to 1 does not have."""
    return numbers(np.round(rows.detections.scores.astype(np.float64) * 100, 5))


def _moments(rows: _Rows) -> pa.Array:
    moment = moment_of(rows.spec)
    if moment is None:
        return pa.nulls(len(rows.detections), MOMENT)
    return numbers(np.full(len(rows.detections), (moment - EPOCH) // timedelta(milliseconds=1)), MOMENT)


def _constant(of: Callable[[VectorSpec], str | None], rows: _Rows) -> pa.Array:
    word = of(rows.spec)
    if word is None:
        return pa.nulls(len(rows.detections), TEXT)
    return coded(np.zeros(len(rows.detections), np.int32), [word])


def _type_name(kind: pa.DataType) -> str:
    """Return a type's name without how it is stored."""
    if pa.types.is_dictionary(kind):
        return str(kind.value_type)
    if pa.types.is_struct(kind):
        return "struct<" + ", ".join(f"{field.name}: {field.type}" for field in kind) + ">"
    return str(kind)

"""Detections and truth of two files, brought to one plane and one list of classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
import pyproj
import shapely

from geodl_core.domain.detection.detections import Outlines
from geodl_core.domain.detection.matching import Floats, Integers, Objects
from geodl_core.errors import InputError
from geodl_core.io.vector.compared_classes import ClassWords, Table, find_field, named_field, read_classes
from geodl_core.io.vector.compared_shapes import common_crs, polygons_of, rows_within, with_geometry
from geodl_core.io.vector.files import read_features

SCORE_FIELDS = ("confidence", "score")
"""In which scores are looked for, in this order; ArcGIS's name first."""
OTHER_SCORES = "name another field with --score-field"


@dataclass(frozen=True, slots=True)
class ReadWords:
    """What was asked for of the files."""

    classes: ClassWords = field(default_factory=ClassWords)
    score_field: str | None = None
    within: str | None = None
    """File of features; only what intersects one of them counts."""
    buffer_m: float | None = None
    """Radius of the circles that the truth's points become, in metres on the ellipsoid; units where there is no CRS."""
    crs: str | None = None
    """In which to compare; None: the detections'."""
    with_outlines: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """Objects of two files in one plane."""

    found: Objects
    scores: Floats
    truth: Objects
    names: tuple[str, ...]
    """Of the classes."""
    facts: Mapping[str, str]
    """What is compared, label → text; files by name, not by path."""
    notes: tuple[str, ...]


def read_compared(truth: str, detections: str, words: ReadWords) -> Compared:
    """Read detections and truth; geometries are repaired and brought to one CRS, in which boxes are their bounds.

    Raises:
        InputError: a file has other geometries than polygons, one alone has a CRS, or fields are missing.
    """
    ours, mine = with_geometry(Table("detections", detections, read_features(detections)))
    theirs, yours = with_geometry(Table("truth", truth, read_features(truth)))
    crs = common_crs(ours, theirs, words.crs)
    shapes = polygons_of(ours, crs), polygons_of(theirs, crs, words.buffer_m)
    classes = read_classes(ours, theirs, words.classes)
    score_field = _score_field(ours, words.score_field)
    rows = [np.arange(len(each)) for each in shapes]
    if words.within is not None:
        mask, _ = with_geometry(Table("mask", words.within, read_features(words.within)))
        rows = [rows_within(each, mask, crs) for each in shapes]
    is_unscored = score_field is None and len(ours.frame) > 0
    unscored = "no field of scores in the detections: all count alike" if is_unscored else None
    facts = {
        "truth": _told(truth, len(rows[1]), len(shapes[1])),
        "detections": _told(detections, len(rows[0]), len(shapes[0])),
        **({} if words.within is None else {"within": PurePath(words.within).name}),
        "classes": _told_fields(classes.fields),
        "scores": score_field or "none",
        "crs": "none" if crs is None else _named(crs),
    }
    return Compared(
        _objects(shapes[0], classes.found, rows[0], words.with_outlines),
        _scores(ours, score_field)[rows[0]],
        _objects(shapes[1], classes.truth, rows[1], words.with_outlines),
        classes.names,
        facts,
        tuple(note for note in (mine, yours, unscored, *classes.notes) if note),
    )


def _objects(shapes: Outlines, classes: Integers, rows: Integers, with_outlines: bool) -> Objects:
    boxes = shapely.bounds(shapes[rows]).reshape(-1, 4)
    return Objects(boxes, classes[rows], shapes[rows] if with_outlines else None)


def _score_field(table: Table, asked: str | None) -> str | None:
    if asked is not None:
        return named_field(table, asked)
    return next((column for wanted in SCORE_FIELDS if (column := find_field(table, wanted)) is not None), None)


def _scores(table: Table, column: str | None) -> Floats:
    """Return the scores of detections, 1 without a field.

    Raises:
        InputError: one is no finite number.
    """
    if column is None:
        return np.ones(len(table.frame))
    try:
        scores: Floats = table.frame[column].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(f"{table.path}: expected numbers in {column}, found others", hint=OTHER_SCORES) from error
    if wrong := int(np.count_nonzero(~np.isfinite(scores))):
        raise InputError(
            f"{table.path}: expected a number in {column} of each detection, found {wrong} without", hint=OTHER_SCORES
        )
    return scores


def _told(path: str, kept: int, of: int) -> str:
    count = f"{kept:,}" if kept == of else f"{kept:,} of {of:,}"
    return f"{PurePath(path).name}: {count} object{'s' if of != 1 else ''}"


def _told_fields(fields: tuple[str, str] | None) -> str:
    if fields is None:
        return "one"
    return fields[0] if fields[0] == fields[1] else f"{fields[0]} of the detections, {fields[1]} of the truth"


def _named(crs: pyproj.CRS) -> str:
    authority = crs.to_authority()
    return f"{':'.join(authority)} ({crs.name})" if authority else crs.name

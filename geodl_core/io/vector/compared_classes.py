"""The classes of two files of features: which fields hold them, and one list of names for both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import geopandas as gpd
import numpy as np

from geodl_core.domain.detection.matching import Integers
from geodl_core.errors import InputError

CLASS_FIELDS = ("class", "class_name", "classvalue", "class_id", "value", "label")
"""In which classes are looked for, in this order; upper and lower case are one. ArcGIS's names among them."""
ONE_CLASS = "object"
"""Name of the class where there are no classes."""
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class ClassWords:
    """What was asked for of classes."""

    found_field: str | None = None
    """Of the detections; None: what both files have in common decides."""
    truth_field: str | None = None
    are_ignored: bool = False
    same: Mapping[str, str] = field(default_factory=dict)
    """Class of detections → the class of the truth that it is."""


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of two files."""

    names: tuple[str, ...]
    found: Integers
    """(N,) indices of names."""
    truth: Integers
    fields: tuple[str, str] | None
    """Of detections and truth; None: there are no classes."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Features and the file that holds them."""

    role: Literal["detections", "truth", "mask"]
    path: str
    frame: gpd.GeoDataFrame


def read_classes(found: Table, truth: Table, words: ClassWords) -> Classes:
    """Return the classes of detections and truth.

    Values are compared as text, whole numbers without decimals, so that 1, 1.0 and "1" are one class. Where no fields
    are named those are taken that have values in common, the same field in both files before others.

    Raises:
        InputError: a field is not there or has gaps, or no value is in both files and nobody named both fields.
    """
    if words.are_ignored:
        return _one_class(found, truth, ())
    ours = _candidates(found, words.found_field, words.truth_field)
    theirs = _candidates(truth, words.truth_field, words.found_field)
    if not ours or not theirs:
        return _without(found, truth, (ours, theirs), words)
    pairs = sorted(((a, b) for a in ours for b in theirs), key=lambda pair: pair[0].lower() != pair[1].lower())
    if len(found.frame) and len(truth.frame):
        common = next((pair for pair in pairs if _in_common(found, truth, pair, words.same)), None)
        if common is None and not (words.found_field and words.truth_field):
            _refuse(found, truth, pairs[0])
        pairs = [common or pairs[0]]
    return _classes(found, truth, pairs[0], words.same)


def find_field(table: Table, wanted: str) -> str | None:
    """Return the column of a name: as it is written, else whatever its case."""
    columns = [str(column) for column in table.frame.columns]
    if wanted in columns:
        return wanted
    return next((column for column in columns if column.lower() == wanted.lower()), None)


def named_field(table: Table, wanted: str) -> str:
    """Return the column of a name that was asked for.

    Raises:
        InputError: there is none.
    """
    column = find_field(table, wanted)
    if column is None:
        known = ", ".join(str(name) for name in table.frame.columns if name != "geometry") or "none"
        raise InputError(f"{table.path}: expected the field {wanted}, found {known}")
    return column


def _candidates(table: Table, asked: str | None, other: str | None) -> list[str]:
    if asked is not None:
        return [named_field(table, asked)]
    likely = (*(() if other is None else (other,)), *CLASS_FIELDS)
    columns = [find_field(table, wanted) for wanted in likely]
    return list(dict.fromkeys(column for column in columns if column is not None))


def _without(found: Table, truth: Table, columns: tuple[list[str], list[str]], words: ClassWords) -> Classes:
    """Return one class, where a file has no field of classes."""
    bare = [table for table, names in zip((found, truth), columns, strict=True) if not names]
    filled = [table for table in bare if len(table.frame)]
    if filled and (words.found_field or words.truth_field):
        raise InputError(
            f"{filled[0].path}: expected a field of classes, found none of {', '.join(CLASS_FIELDS)}",
            hint="name it with --class-field or --truth-class-field, or compare without classes with --one-class",
        )
    if len(bare) == 1 and not filled:  # an empty file says nothing of classes; the other does
        name = (columns[0] or columns[1])[0]
        return _classes(found, truth, (name, name), words.same)
    missing = " and ".join(f"the {table.role}" for table in bare)
    return _one_class(found, truth, (f"no field of classes in {missing}: all objects are one class",))


def _one_class(found: Table, truth: Table, notes: tuple[str, ...]) -> Classes:
    names = (ONE_CLASS,) if len(found.frame) or len(truth.frame) else ()
    return Classes(names, np.zeros(len(found.frame), np.int64), np.zeros(len(truth.frame), np.int64), None, notes)


def _classes(found: Table, truth: Table, columns: tuple[str, str], same: Mapping[str, str]) -> Classes:
    ours, mine = _labels(found, columns[0], same)
    theirs, yours = _labels(truth, columns[1], {})
    names = tuple(sorted({*ours, *theirs}, key=_rank))
    index = {name: row for row, name in enumerate(names)}
    notes = [
        f"only in the {table.role}: {_listed(sorted(own - other, key=_rank))}"
        for table, own, other in ((found, {*ours}, {*theirs}), (truth, {*theirs}, {*ours}))
        if own - other
    ]
    if missing := same.keys() - {*_labels(found, columns[0], {})[0]}:
        notes.append(f"no detection is of the class {_listed(sorted(missing))}")
    return Classes(
        names,
        np.array([index[name] for name in ours], np.int64)[mine],
        np.array([index[name] for name in theirs], np.int64)[yours],
        columns,
        tuple(notes),
    )


def _labels(table: Table, column: str, same: Mapping[str, str]) -> tuple[list[str], Integers]:
    """Return names of classes, which may repeat, and for each feature the index of its own.

    Raises:
        InputError: a feature has none.
    """
    if column not in table.frame:  # of an empty file
        return [], np.zeros(len(table.frame), np.int64)
    codes, values = table.frame[column].factorize()
    if gaps := int(np.count_nonzero(codes < 0)):
        raise InputError(
            f"{table.path}: expected a class in {column} of each feature, found {gaps} without",
            hint="fill it, name another field, or compare without classes with --one-class",
        )
    labels = [_label(value) for value in values]
    return [same.get(label, label) for label in labels], np.asarray(codes, np.int64)


def _label(value: Any) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _in_common(found: Table, truth: Table, columns: tuple[str, str], same: Mapping[str, str]) -> bool:
    return not {*_labels(found, columns[0], same)[0]}.isdisjoint(_labels(truth, columns[1], {})[0])


def _refuse(found: Table, truth: Table, columns: tuple[str, str]) -> None:
    ours, theirs = (
        _listed(sorted({*_labels(table, name, {})[0]}, key=_rank))
        for table, name in zip((found, truth), columns, strict=True)
    )
    raise InputError(
        f"expected classes that are in both files, found {ours} in {columns[0]} of {found.path} and {theirs} in "
        f"{columns[1]} of {truth.path}",
        hint="name the fields with --class-field and --truth-class-field, say which classes are the same with "
        "--same-class FOUND=TRUTH, or compare without classes with --one-class",
    )


def _rank(name: str) -> tuple[bool, int, str]:
    """Order numbers by value, before words."""
    is_number = name.removeprefix("-").isdecimal()
    return not is_number, int(name) if is_number else 0, name


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")

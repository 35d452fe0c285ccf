"""Non-maximum suppression of the features of a file, whatever they come from."""

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.suppress import nms_polygons
from geodl_core.errors import InputError

SCORE_FIELDS = ("Confidence", "score")
"""Where a score is looked for: ArcGIS's name, and geodl's own."""
CLASS_FIELDS = ("Classvalue", "Value", "class_id", "Class", "class_name")
"""Where a class is looked for: ArcGIS's names in its order, and geodl's own."""


def suppress_features(
    frame: gpd.GeoDataFrame, path: Path, max_overlap_ratio: float, score_field: str, class_field: str | None
) -> gpd.GeoDataFrame:
    """Return the features that ArcGIS's tool Non Maximum Suppression keeps, with all their columns, in their order.

    Args:
        frame: polygons; other geometries overlap none, and stay.
        path: of their file, for errors.
        max_overlap_ratio: of intersection to union, in [0, 1], above which of two features of a class the one with
            the lower score goes.
        score_field: a column of numbers of any scale, also as text.
        class_field: a column of any type; features without a class are a class too. None: all are of one class.

    Raises:
        InputError: there is no such column, or a score is not a number.
    """
    scores = _scores(frame, path, score_field)
    groups = np.zeros(len(frame), np.int64)
    if class_field is not None:
        groups = _groups(_column(frame, path, class_field))
    return frame.iloc[nms_polygons(frame.geometry.to_numpy(), scores, groups, max_overlap_ratio)]


def find_field(frame: gpd.GeoDataFrame, names: Sequence[str]) -> str | None:
    """Return the first of some columns that a table has, whatever their case; None where it has none."""
    known = {str(name).lower(): str(name) for name in reversed(frame.columns) if name != frame.geometry.name}
    return next((known[name.lower()] for name in names if name.lower() in known), None)


def _column(frame: gpd.GeoDataFrame, path: Path, name: str) -> gpd.GeoSeries:
    if name not in frame.columns or name == frame.geometry.name:
        known = ", ".join(str(column) for column in frame.columns if column != frame.geometry.name)
        raise InputError(f"{path}: expected a field {name}, found {known or 'no field'}")
    return frame[name]


def _scores(frame: gpd.GeoDataFrame, path: Path, name: str) -> npt.NDArray[np.float64]:
    column = _column(frame, path, name)
    values = column.tolist()
    scores = np.asarray([_number(value) for value in values], np.float64)
    strange = np.flatnonzero(~np.isfinite(scores))
    if len(strange):
        row = int(strange[0])
        found = "none" if column.isna().iloc[row] else repr(values[row])
        raise InputError(f"{path}: row {row + 1}: {name}: expected a number, found {found}")
    return scores


def _number(value: object) -> float:
    """Return a number, also of a text; NaN for what is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _groups(column: gpd.GeoSeries) -> npt.NDArray[np.int64]:
    """Return a number for each value of a column, 0 and up."""
    numbers: dict[object, int] = {}
    values = [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
    return np.asarray([numbers.setdefault(value, len(numbers)) for value in values], np.int64)

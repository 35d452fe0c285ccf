"""Polygons of a class map as a file of features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.table import require_crs
from geodl_core.domain.grid import WGS84, is_same_crs
from geodl_core.errors import InputError
from geodl_core.io.vector.files import SUFFIXES, write_features

Columns = Mapping[str, npt.NDArray[Any] | str]


def crs_in_file(path: Path, wanted: str | None, own: str) -> str:
    """Return the CRS that polygons have in a file.

    Args:
        path: whose suffix says the format.
        wanted: None: the raster's, of GeoJSON longitude and latitude.
        own: the raster's.

    Raises:
        InputError: the suffix is of no format that can be written, or the CRS is none that serves.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: expected one of {', '.join(SUFFIXES)} to write, found {path.suffix or 'no suffix'}")
    if wanted is not None:
        require_crs(wanted, "--crs")
        if kind == "geojson" and not (is_same_crs(wanted, WGS84)):
            raise InputError(f"{path}: GeoJSON holds longitude and latitude alone", hint="leave out --crs")
    return WGS84 if kind == "geojson" else wanted or own


def write_class_polygons(path: Path, shapes: npt.NDArray[np.object_], crs: str, columns: Columns) -> None:
    """Write polygons with what is known of each.

    Args:
        path: whose suffix says the format.
        shapes: (N,) polygons and multipolygons.
        crs: of their coordinates.
        columns: name → (N,) values, or one text for all.

    Raises:
        InputError: the suffix is of no format that can be written.
        StoreError: the file cannot be written.
    """
    frame = gpd.GeoDataFrame(dict(columns), geometry=shapes, crs=crs)
    write_features(frame, path, layer="classes")

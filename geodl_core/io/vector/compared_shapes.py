"""The shapes of two files of features, brought to one plane."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions
import shapely

from geodl_core.domain.detection.detections import Outlines
from geodl_core.domain.detection.matching import Integers
from geodl_core.errors import InputError
from geodl_core.io.vector.compared_classes import Table

POINT = 0
POLYGONS = (3, 6)
"""Types of shapely: polygon, multipolygon."""
CORNERS = 64
"""Of the circles that points become."""


def with_geometry(table: Table) -> tuple[Table, str | None]:
    """Return the features that have a geometry, and a note where others were left out."""
    missing = np.asarray(table.frame.geometry.isna() | table.frame.geometry.is_empty, np.bool_)
    if not missing.any():
        return table, None
    count = int(np.count_nonzero(missing))
    left = f"{count} feature{'s' if count > 1 else ''} of the {table.role} without geometry left out"
    return replace(table, frame=table.frame[~missing]), left


def common_crs(found: Table, truth: Table, wanted: str | None) -> pyproj.CRS | None:
    """Return the CRS in which to compare: the one wanted, else that of the detections; None where there is none.

    Raises:
        InputError: one file alone has a CRS, or the one wanted is unknown or cannot be reached.
    """
    # What an empty file says of a CRS matters to nothing, and some formats always say one.
    found, truth = (found if len(found.frame) else truth), (truth if len(truth.frame) else found)
    if (found.frame.crs is None) != (truth.frame.crs is None):
        bare, other = (found, truth) if found.frame.crs is None else (truth, found)
        raise InputError(
            f"{bare.path}: expected a CRS, as {other.path} has one, found none",
            hint="write the CRS into the file, or take it from both",
        )
    own: pyproj.CRS | None = found.frame.crs
    if wanted is None:
        return own
    if own is None:
        raise InputError(f"--crs {wanted}: {found.path} and {truth.path} have no CRS to come from")
    try:
        return pyproj.CRS.from_user_input(wanted)
    except pyproj.exceptions.CRSError as error:
        raise InputError(f"expected a CRS such as EPSG:32633, found {wanted[:60]!r}") from error


def polygons_of(table: Table, crs: pyproj.CRS | None, buffer_m: float | None = None) -> Outlines:
    """Return polygons in a CRS, one a feature, valid unless they have no area.

    Args:
        table: features with geometry.
        crs: None where the features have none.
        buffer_m: radius of the circles that points become, in metres on the ellipsoid, whatever the CRS; in units of
            the coordinates where there is no CRS. None: points are refused.

    Raises:
        InputError: a feature is no polygon, or cannot be brought to the CRS.
    """
    shapes: Outlines = shapely.force_2d(np.asarray(table.frame.geometry.array, object))
    types = shapely.get_type_id(shapes)
    is_point = types == POINT if buffer_m is not None else np.zeros(len(shapes), np.bool_)
    _check_polygons(table, types[~is_point])
    polygons: Outlines = np.empty(len(shapes), object)
    polygons[~is_point] = _projected(shapes[~is_point], table.frame.crs, crs, table.path)
    if buffer_m is not None and is_point.any():
        polygons[is_point] = _circles(shapes[is_point], table.frame.crs, crs, table.path, buffer_m)
    broken = np.flatnonzero(~shapely.is_valid(polygons))
    mended = shapely.make_valid(polygons[broken], method="structure", keep_collapsed=False)
    # What has no area stays as it is: a detection that is a mere line is false, but it counts.
    is_something = ~shapely.is_empty(mended)
    polygons[broken[is_something]] = mended[is_something]
    return polygons


def rows_within(shapes: Outlines, mask: Table, crs: pyproj.CRS | None) -> Integers:
    """Return the rows of shapes that intersect a feature of a mask.

    Raises:
        InputError: the mask has no features, has or lacks a CRS where the others do not, or cannot be brought there.
    """
    if (mask.frame.crs is None) != (crs is None):
        state = ("a", "none") if mask.frame.crs is None else ("no", "one")
        raise InputError(f"{mask.path}: expected {state[0]} CRS, as the detections and the truth, found {state[1]}")
    if not len(mask.frame):
        raise InputError(f"{mask.path}: expected features within which to compare, found none")
    areas = _projected(np.asarray(mask.frame.geometry.array, object), mask.frame.crs, crs, mask.path)
    rows, _ = shapely.STRtree(areas).query(shapes, predicate="intersects")
    return np.unique(rows).astype(np.int64)


def _check_polygons(table: Table, types: npt.NDArray[np.int32]) -> None:
    others = types[~np.isin(types, POLYGONS)]
    if not len(others):
        return
    kind = shapely.GeometryType(int(others[0])).name.lower().replace("string", " string").replace("multi", "multi-")
    way = ", or give a radius with --buffer" if table.role == "truth" and others[0] == POINT else ""
    raise InputError(
        f"{table.path}: expected polygons, found {len(others)} of {len(types)} features to be none, a {kind} first",
        hint=f"buffer them first{way}",
    )


def _projected(shapes: Outlines, source: pyproj.CRS | None, target: pyproj.CRS | None, path: str) -> Outlines:
    """Return shapes in another CRS, corner by corner."""
    if source is None or target is None or source == target or not len(shapes):
        return shapes
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    points = np.stack(transformer.transform(*shapely.get_coordinates(shapes).T), axis=1)
    if not np.isfinite(points).all():
        raise InputError(
            f"{path}: some features have no place in {target.name}", hint="compare in another CRS, with --crs"
        )
    moved: Outlines = shapely.set_coordinates(shapes.copy(), points)
    return moved


def _circles(
    points: Outlines, source: pyproj.CRS | None, target: pyproj.CRS | None, path: str, radius: float
) -> Outlines:
    """Return circles round points: on the ellipsoid where there is a CRS, else in the plane."""
    degrees, geod = (None, None) if source is None else (source.geodetic_crs, source.get_geod())
    if degrees is None or geod is None:
        plane: Outlines = shapely.buffer(points, radius, quad_segs=CORNERS // 4)
        return _projected(plane, source, target, path)
    lons, lats = shapely.get_coordinates(_projected(points, source, degrees, path)).T
    if (np.abs(lats) > 90).any():
        raise InputError(
            f"{path}: expected latitudes of {degrees.name} to lie within 90°, found {np.abs(lats).max():g}"
        )
    each = np.repeat(np.arange(len(points)), CORNERS)
    azimuths = np.tile(np.linspace(0, 360, CORNERS, endpoint=False), len(points))
    ends, ups, _ = geod.fwd(lons[each], lats[each], azimuths, np.full(len(each), radius))
    # Next to its centre, that a circle over the antimeridian stays whole.
    beside = lons[each] + (ends - lons[each] + 180) % 360 - 180
    rings: Outlines = shapely.polygons(np.stack([beside, ups], axis=-1).reshape(-1, CORNERS, 2))
    return _projected(rings, degrees, target, path)

"""Areas on the ellipsoid, many objects at once."""

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from geodl_core.domain.detection.placing import Placed
from geodl_core.domain.grid import Coordinates

ELLIPSOID = pyproj.Geod(ellps="WGS84")
WIDEST_DEG = 0.05
"""Of longitude, and as many metres of latitude, up to which sides count as straight in the equal-area projection: the
area is within 1e-6 of that with geodesic sides (measured)."""


def areas_m2(placed: Placed) -> npt.NDArray[np.float64]:
    """Return areas in square metres on WGS 84; 0 of points.

    The longitudes and latitudes are put into the cylindrical equal-area projection (J. P. Snyder, Map Projections: A
    Working Manual, 1987, equations 3-12 and 10-14, 10-15), in which the area is a plain polygon's. Objects of more
    than `WIDEST_DEG` are measured one by one, with geodesic sides.

    Args:
        placed: in OGC:CRS84.
    """
    if placed.corners is None:
        shapes = placed.shapes
        areas: npt.NDArray[np.float64] = shapely.area(shapely.transform(shapes, lambda p: _equal_area(p.T).T))
        west, south, east, north = shapely.bounds(shapes).reshape(-1, 4).T
    elif placed.corners.shape[1] < 3:
        return np.zeros(placed.corners.shape[2])
    else:
        x, y = _equal_area(placed.corners)
        areas = np.abs((x[2] - x[0]) * (y[3] - y[1]) - (x[3] - x[1]) * (y[2] - y[0])) / 2
        west, east = placed.corners[0].min(axis=0), placed.corners[0].max(axis=0)
        south, north = placed.corners[1].min(axis=0), placed.corners[1].max(axis=0)
    is_wide = (east - west > WIDEST_DEG) | (north - south > WIDEST_DEG * np.cos(np.radians((south + north) / 2)))
    for row in np.flatnonzero(is_wide):
        if placed.corners is None:
            areas[row] = abs(ELLIPSOID.geometry_area_perimeter(placed.shapes[row])[0])
        else:
            areas[row] = abs(ELLIPSOID.polygon_area_perimeter(*placed.corners[:, :, row])[0])
    return areas


def _equal_area(positions: Coordinates) -> Coordinates:
    """Return x and y in metres of (2, …) longitudes and latitudes."""
    eccentricity = ELLIPSOID.es**0.5
    sine = np.sin(np.radians(positions[1]))
    q = (1 - ELLIPSOID.es) * (sine / (1 - ELLIPSOID.es * sine**2) + np.arctanh(eccentricity * sine) / eccentricity)
    return np.array([ELLIPSOID.a * np.radians(positions[0]), ELLIPSOID.a / 2 * q])

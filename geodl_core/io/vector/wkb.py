"""Well-known binary (OGC 06-103r4, chapter 8) of many objects at once."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from geodl_core.domain.detection.placing import Placed
from geodl_core.domain.grid import Coordinates
from geodl_core.io.vector.arrays import blobs, records

POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("xy", "<f8", (1, 2))])
POLYGON = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))])
LITTLE_ENDIAN = 1
POINT_TYPE, POLYGON_TYPE = 1, 3


def corner_records(corners: Coordinates) -> npt.NDArray[np.void]:
    """Return WKB records: points of one corner, closed polygons of four.

    Args:
        corners: (2, K, N) x and y of K = 1 or 4 points each.

    Returns:
        (N,) records of 21 or 93 bytes, without padding.
    """
    _, points, count = corners.shape
    is_point = points == 1
    made = np.zeros(count, POINT if is_point else POLYGON)
    made["order"], made["type"] = LITTLE_ENDIAN, POINT_TYPE if is_point else POLYGON_TYPE
    if not is_point:
        made["rings"], made["points"] = 1, points + 1
    xy = made["xy"]
    for point in range(xy.shape[1]):
        xy[:, point, 0], xy[:, point, 1] = corners[0, point % points], corners[1, point % points]
    return made


def to_wkb(placed: Placed) -> tuple[pa.BinaryArray, set[str]]:
    """Return the WKB of each object, little-endian, and the names of the types among them.

    Exteriors are counter-clockwise.
    """
    names = {shape.geom_type for shape in placed.shapes}
    encoded = shapely.to_wkb(placed.shapes, byte_order=LITTLE_ENDIAN)
    if placed.corners is None:
        return blobs(encoded), names
    boxes = corner_records(placed.corners)
    if len(placed.rows) < len(boxes):
        names.add("Point" if boxes.dtype == POINT else "Polygon")
    if not len(placed.rows):
        return records(boxes), names
    every = boxes.view(f"V{boxes.dtype.itemsize}").astype(object)
    every[placed.rows] = encoded
    return blobs(list(every)), names

"""Detections in the parts of shards: column after column, outlines as well-known binary."""

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.detection.detections import Detections
from geodl_core.errors import DataError
from geodl_core.io.parts.parts import PartReader, PartWriter

COLUMNS = {
    "boxes": np.dtype(("<f4", 4)),
    "scores": np.dtype("<f4"),
    "class_ids": np.dtype("<i4"),
    "tiles": np.dtype("<i4"),
    "cuts": np.dtype("u1"),
}
ROW_BYTES = sum(kind.itemsize for kind in COLUMNS.values())
ROWS, OUTLINED, OUTLINES, ENDS = "rows", "outlined_rows", "outlines", "outline_ends"
"""Rows that have outlines are called otherwise, so that outlines cannot be missing unnoticed."""


def add_detections(part: PartWriter, name: str, detections: Detections) -> None:
    """Add detections to a part.

    Rows are one member, stored as they are: compressed, they would take two thirds of the room and twenty times the
    processor; and to open a member takes as long as to read a hundred rows.

    Args:
        part: being written.
        name: of the group of members that hold them.
        detections: in pixels of the grid.
    """
    columns = [np.asarray(getattr(detections, column), kind.base) for column, kind in COLUMNS.items()]
    rows = ROWS if detections.outlines is None else OUTLINED
    part.add_bytes(f"{name}/{rows}", b"".join(column.tobytes() for column in columns))
    if detections.outlines is not None:
        pieces = shapely.to_wkb(detections.outlines)
        part.add_array(f"{name}/{ENDS}", np.cumsum([len(piece) for piece in pieces], dtype=np.int64))
        part.add_array(f"{name}/{OUTLINES}", np.frombuffer(b"".join(pieces), np.uint8))


def read_detections(part: PartReader, name: str) -> Detections:
    """Return the detections of a group of a part.

    Raises:
        DataError: they are not there, or damaged.
    """
    is_outlined = f"{name}/{OUTLINED}" in part.names()
    content = part.read(f"{name}/{OUTLINED if is_outlined else ROWS}")
    count, rest = divmod(len(content), ROW_BYTES)
    if rest:
        raise DataError(f"part of a detection run: expected rows of {ROW_BYTES} bytes, found {len(content)} bytes")
    arrays, start = {}, 0
    for column, kind in COLUMNS.items():
        arrays[column] = np.frombuffer(content, kind, count, start)
        start += count * kind.itemsize
    try:
        outlines = _outlines(part, name) if is_outlined else None
        return Detections(**arrays, outlines=outlines)
    except (ValueError, shapely.errors.GEOSException) as error:
        raise DataError(f"part of a detection run: expected an outline for each row ({error})") from error


def _outlines(part: PartReader, name: str) -> npt.NDArray[Any]:
    content = part.read_array(f"{name}/{OUTLINES}.npy").tobytes()
    ends = part.read_array(f"{name}/{ENDS}.npy").tolist()
    pieces = [content[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    outlines: npt.NDArray[Any] = np.empty(len(pieces), object)
    outlines[:] = shapely.from_wkb(pieces)
    return outlines

"""Detections in the parts of shards: arrays of one length, outlines as well-known binary."""

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.detection.detections import Detections
from geodl_core.errors import DataError
from geodl_core.io.parts.parts import PartReader, PartWriter

ARRAYS = ("boxes", "scores", "class_ids", "tiles", "cuts")
OUTLINES, ENDS = "outlines", "outline_ends"


def add_detections(part: PartWriter, name: str, detections: Detections) -> None:
    """Add detections to a part.

    Args:
        part: being written.
        name: of the group of members that hold them.
        detections: in pixels of the grid.
    """
    for array in ARRAYS:
        part.add_array(f"{name}/{array}", getattr(detections, array))
    if detections.outlines is not None:
        pieces = shapely.to_wkb(detections.outlines)
        part.add_array(f"{name}/{ENDS}", np.cumsum([len(piece) for piece in pieces], dtype=np.int64))
        part.add_array(f"{name}/{OUTLINES}", np.frombuffer(b"".join(pieces), np.uint8))


def read_detections(part: PartReader, name: str) -> Detections:
    """Return the detections of a group of a part.

    Raises:
        DataError: they are not there, or damaged.
    """
    try:
        arrays = {array: part.read_array(f"{name}/{array}.npy") for array in ARRAYS}
        outlines = _outlines(part, name) if f"{name}/{ENDS}.npy" in part.names() else None
        return Detections(**arrays, outlines=outlines)
    except (ValueError, shapely.errors.GEOSException) as error:
        raise DataError(f"part of a detection run: expected arrays of one length, found others ({error})") from error


def _outlines(part: PartReader, name: str) -> npt.NDArray[Any]:
    content = part.read_array(f"{name}/{OUTLINES}.npy").tobytes()
    ends = part.read_array(f"{name}/{ENDS}.npy").tolist()
    pieces = [content[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    outlines: npt.NDArray[Any] = np.empty(len(pieces), object)
    outlines[:] = shapely.from_wkb(pieces)
    return outlines

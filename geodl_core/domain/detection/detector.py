"""A detector: what a model has beside its tensors where it finds objects."""

from collections.abc import Mapping
from dataclasses import dataclass

from geodl_core.domain.detection.decoder import Decoder

MARGIN_PX = 8
"""Beyond its core a tile keeps objects whose centre lies so near: two tiles may see it on either side of the border."""
USUAL_OVERLAP = 0.45
"""IoU above which one of two objects goes, for networks that leave suppression to others."""
ARCGIS_OVERLAP = 0.1
"""The same for networks trained in ArcGIS, whose argument `nms_overlap` has this default."""
SEAM_OVERLAP = 0.5
"""The same where tiles meet, for networks that suppress by themselves."""


@dataclass(frozen=True, slots=True)
class Detector:
    """How a network's answer becomes objects of classes."""

    decoder: Decoder
    labels: Mapping[int, int]
    """The network's label → class id."""
    nms_overlap: float
    """What a tile's objects are suppressed by unless the user says otherwise; 1: not at all."""
    input_px: tuple[int | None, int | None]
    """Height and width that the graph takes; None: any."""


def seam_overlap(nms_overlap: float) -> float:
    """Return the overlap above which objects of neighbouring tiles are the same: as within a tile."""
    return nms_overlap if nms_overlap < 1 else SEAM_OVERLAP

"""What may be chosen of a detector's run, and what of it the result depends on."""

import re
from dataclasses import dataclass
from typing import Literal

from geodl_core.errors import InputError

Measure = Literal["iou", "ios"]
Geometry = Literal["polygon", "point"]
Format = Literal["parquet", "gpkg", "geojson", "fgb"]
GEOMETRIES: tuple[Geometry, ...] = ("polygon", "point")
MEASURES: tuple[Measure, ...] = ("iou", "ios")
FORMATS: tuple[Format, ...] = ("parquet", "gpkg", "geojson", "fgb")
CATALOG_CRS = "OGC:CRS84"
SCENE_CRS = "scene"
"""In place of a CRS: that of the grid on which the network ran."""
MOST_SCALE = 8.0


@dataclass(frozen=True, slots=True)
class DetectionChoice:
    """What the user may choose of a detector's run; None leaves it to the model.

    Raises:
        InputError: a value outside its domain.
    """

    max_object: str | None = None
    """The longest side of an object, in pixels of the grid or as `30m`: decides how far tiles overlap."""
    nms_overlap: float | None = None
    """IoU above which, of two objects of a class in one tile, the one with the lower score goes."""
    exclude_pad_detections: bool = True
    """Whether a tile keeps no more than the objects whose centre lies in its core."""
    tta_scales: tuple[float, ...] = (1.0,)
    """Sizes at which test-time augmentation looks at a tile."""
    return_bboxes: bool = False
    """Boxes in place of the outlines of masks and oriented boxes."""
    run_nms: bool = False
    """Whether polygons of a class that overlap are suppressed over the whole scene, as by ArcGIS's tool."""
    max_overlap_ratio: float = 0.0
    """Of intersection to union, above which that happens."""
    merge_cut: bool = False
    """Whether the pieces of an object that is larger than the overlap of tiles are united."""
    seam_measure: Measure = "iou"
    """By which objects of neighbouring tiles are taken for the same: intersection over union, or over the smaller."""
    geometry: Geometry = "polygon"
    simplify_px: float = 0.5
    """By how much the outlines of masks may be off, in pixels of the grid."""
    has_area: bool = False
    """Whether each object's area is written, in square metres on the ellipsoid."""
    crs: str = CATALOG_CRS
    """Of the geometries: any name of a CRS, or `scene`."""
    formats: tuple[Format, ...] = ("parquet",)
    """Of the files; GeoParquet is always among them."""
    arcgis_fields: bool = False
    """ArcGIS's names of class and score, and percentages."""

    def __post_init__(self) -> None:
        if self.seam_measure not in MEASURES:
            raise InputError(f"seam_measure: expected one of {', '.join(MEASURES)}, found {self.seam_measure}")
        if self.geometry not in GEOMETRIES:
            raise InputError(f"geometry: expected one of {', '.join(GEOMETRIES)}, found {self.geometry}")
        strange = [each for each in self.formats if each not in FORMATS]
        if strange:
            raise InputError(f"format: expected one of {', '.join(FORMATS)}, found {strange[0]}")
        for name, share in (("nms_overlap", self.nms_overlap), ("max_overlap_ratio", self.max_overlap_ratio)):
            if share is not None and not 0 <= share <= 1:
                raise InputError(f"{name}: expected 0 to 1, found {share:g}")
        if not self.tta_scales or not all(0 < scale <= MOST_SCALE for scale in self.tta_scales):
            raise InputError(f"tta_scales: expected numbers above 0, {MOST_SCALE:g} at most, found {self.tta_scales}")
        if not 0 <= self.simplify_px < 1000:
            raise InputError(f"simplify: expected 0 to 1000 pixels, found {self.simplify_px:g}")
        if self.max_object is not None:
            object_px(self.max_object, 1.0)


PLAIN = DetectionChoice()


def object_px(text: str, metres_per_px: float | None) -> float:
    """Return a length such as `64`, `64px` or `30m` in pixels of a grid.

    Raises:
        InputError: it is none, or in metres on a grid that has no place on Earth.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(px|m)?", text.strip())
    if match is None or float(match[1]) <= 0:
        raise InputError(f"max_object: expected a length such as 64 (pixels) or 30m, found {text}")
    if match[2] != "m":
        return float(match[1])
    if metres_per_px is None:
        raise InputError(f"max_object: {text}: expected pixels, as the grid has no place on Earth")
    return float(match[1]) / metres_per_px

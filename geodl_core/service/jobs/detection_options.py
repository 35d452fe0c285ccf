"""What a command line says of a detector's run."""

from collections.abc import Mapping
from typing import Any

from geodl_core.domain.detection.choice import CATALOG_CRS, FORMATS, SCENE_CRS, DetectionChoice
from geodl_core.domain.detection.table import require_crs
from geodl_core.domain.model.model import Model
from geodl_core.errors import InputError


def detection_choice(options: Mapping[str, Any], given: Mapping[str, Any]) -> DetectionChoice:
    """Return what the options and the model's arguments say of a detector's run.

    Raises:
        InputError: a value outside its domain, or a CRS that is none.
    """
    crs = options["crs"] or CATALOG_CRS
    if crs != SCENE_CRS:
        require_crs(crs, "--crs")
    same = (
        *("nms_overlap", "exclude_pad_detections", "return_bboxes", "run_nms", "max_overlap_ratio", "merge_cut"),
        *("seam_measure", "geometry", "arcgis_fields"),
    )
    chosen = {name: given[name] for name in same if name in given}
    if "tta_scales" in given:
        chosen["tta_scales"] = tuple(float(scale) for scale in str(given["tta_scales"]).split(","))
    if "simplify" in given:
        chosen["simplify_px"] = given["simplify"]
    formats = tuple(each for each in FORMATS if each == "parquet" or each in options["formats"])
    return DetectionChoice(
        max_object=options["max_object"], crs=crs, formats=formats, has_area=given.get("area", False), **chosen
    )


def require_classifier(model: Model, options: Mapping[str, Any]) -> None:
    """Refuse options of detectors for a model that classifies pixels.

    Raises:
        InputError: one of them is given.
    """
    for name, option in (("max_object", "--max-object"), ("formats", "--format")):
        if options[name]:
            raise InputError(f"{option}: the model {model.name} classifies pixels; expected a detector")

"""Arguments of a model that finds objects, by Esri's names where there are such."""

from geodl_core.domain.detection.choice import GEOMETRIES, MEASURES, PLAIN
from geodl_core.domain.detection.detector import MARGIN_PX
from geodl_core.domain.model.argument import ModelArgument
from geodl_core.domain.model.model import Model

MOST_PX = 1 << 14
OUTLINED = ("torchvision", "yolo masks", "yolo oriented", "keras mask-rcnn")
"""Forms whose answers have outlines beside the boxes."""


def detector_arguments(model: Model) -> tuple[ModelArgument, ...]:
    """Return the arguments that a detector takes."""
    detector = model.detector
    if detector is None:
        return ()
    text = f"pixels around a tile's core that the network sees too (default from {model.halo.origin})"
    arguments = [
        ModelArgument("threshold", "number", model.threshold, "score above which an object counts", 0, 1),
        ModelArgument("score_threshold", "number", model.threshold, "another name of threshold", 0, 1),
        ModelArgument("padding", "whole number", model.halo.px, text, 0, MOST_PX),
        ModelArgument("tile_size", "whole number", max(model.chip_px), _tile_text(model), 1, MOST_PX),
    ]
    if model.batch is None:
        arguments.append(ModelArgument("batch_size", "whole number", 1, "tiles given to the network at a time", 1, 256))
    text = "IoU above which, of two objects of a class in a tile, the lesser goes; 1: none does"
    arguments.append(ModelArgument("nms_overlap", "number", detector.nms_overlap, text, 0, 1))
    text = f"keep only objects whose centre is in the tile's core or within {MARGIN_PX} pixels of it"
    arguments.append(ModelArgument("exclude_pad_detections", "flag", True, text))
    text = "look at each tile turned and mirrored too, and average the scores; eight times the work"
    arguments.append(ModelArgument("test_time_augmentation", "flag", model.is_augmented, text))
    text = "sizes at which that looks at a tile, as 0.5,1"
    arguments.append(ModelArgument("tta_scales", "numbers", "1", text, 0, 8))
    if detector.decoder.form in OUTLINED:
        arguments.append(ModelArgument("return_bboxes", "flag", False, "boxes in place of outlines"))
        text = "by how many pixels outlines may be off"
        arguments.append(ModelArgument("simplify", "number", PLAIN.simplify_px, text, 0, 999))
    return (*arguments, *_merging(), *_written())


def _tile_text(model: Model) -> str:
    text = "longer side of a tile in pixels, context included"
    if model.is_size_fixed:
        height, width = model.chip_px
        text += f"; others than the network's own {height} × {width} are resized to that"
    return text


def _merging() -> tuple[ModelArgument, ...]:
    text = "unite the pieces of objects that are larger than the overlap of tiles"
    merge_cut = ModelArgument("merge_cut", "flag", False, text)
    text = "what makes objects of two tiles the same: intersection over union, or over the smaller (ios)"
    measure = ModelArgument("seam_measure", "choice", "iou", text, choices=MEASURES)
    text = "suppress polygons of a class that overlap, over the whole scene, as ArcGIS's tool does"
    run_nms = ModelArgument("run_nms", "flag", False, text)
    text = "with run_nms: intersection over union above which the lesser goes"
    return (merge_cut, measure, run_nms, ModelArgument("max_overlap_ratio", "number", 0, text, 0, 1))


def _written() -> tuple[ModelArgument, ...]:
    geometry = ModelArgument("geometry", "choice", "polygon", "of what is written", choices=GEOMETRIES)
    area = ModelArgument("area", "flag", False, "write each object's area in square metres on the ellipsoid")
    text = "ArcGIS's field names: Class, Classvalue, and Confidence in percent"
    return (geometry, area, ModelArgument("arcgis_fields", "flag", False, text))

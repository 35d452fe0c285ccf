"""What MLM calls the dimensions of a network's answer."""

from collections.abc import Mapping

from geodl_core.domain.detection.decoder import Decoder, Form
from geodl_core.domain.network.graph import Tensor

Names = tuple[str, ...]
ROWS: Names = ("batch", "detection", "attribute")
COLUMNS: Names = ("batch", "attribute", "detection")
BOXES: Names = ("batch", "detection", "coordinate")
SCORES: Names = ("batch", "detection", "class")
LABELS: Names = ("batch", "detection")
MASKS: Names = ("batch", "detection", "height", "width")
FORMS: Mapping[Form, tuple[Names, ...]] = {
    "tensorflow": (BOXES, LABELS, LABELS, ("batch",)),
    "torchvision": (BOXES, LABELS, LABELS, LABELS),
    "detr": (SCORES, BOXES),
    "yolo": (ROWS,),
    "yolox": (ROWS,),
    "yolo transposed": (COLUMNS,),
    "yolo oriented": (COLUMNS,),
    "yolo masks": (COLUMNS, ("batch", "mask", "height", "width")),
    "finished": (ROWS,),
    "ssd": (BOXES, SCORES),
    "ssd raw": (BOXES, SCORES),
    "retinanet raw": (SCORES, BOXES),
    "cntk faster-rcnn": (SCORES, BOXES, ROWS),
    "keras mask-rcnn": (ROWS, (*MASKS, "class")),
}
"""Of each output of a detector in the decoder's order; the batch is left off by some."""


def detector_dimensions(decoder: Decoder, tensor: Tensor) -> list[str] | None:
    """Return the names of a detector's output's dimensions, None where it is none that the decoder takes.

    Args:
        decoder: how the answer becomes objects.
        tensor: an output.
    """
    if tensor.name not in decoder.tensors:
        return None
    place, rank = decoder.tensors.index(tensor.name), len(tensor.shape)
    for names in _tries(decoder, place, tensor):
        if len(names) == rank:
            return list(names)
        if len(names) == rank + 1 and names[0] == "batch":
            return list(names[1:])
    return None


def _tries(decoder: Decoder, place: int, tensor: Tensor) -> list[Names]:
    """Return what an output's dimensions may be called."""
    if decoder.form == "torchvision" and len(tensor.shape) > len(LABELS) and place > 0:
        # Its own masks have one channel and no batch, MMDetection's a batch and no channel.
        has_channel = tensor.shape[-3] == 1
        return [("batch", "detection", "channel", "height", "width") if has_channel else MASKS]
    if decoder.form == "yolo heads":
        return [("batch", "attribute", "height", "width"), ("batch", "anchor", "height", "width", "attribute")]
    if decoder.form == "retinanet raw" and len(decoder.tensors) > len(FORMS[decoder.form]):
        kind = "class" if place < len(decoder.tensors) // 2 else "coordinate"
        return [("batch", kind, "height", "width")]
    if decoder.form == "yolo masks" and decoder.has_objectness and place == 0:
        return [ROWS]
    return list(FORMS[decoder.form][place : place + 1])

"""From a network's answer to the objects of each image: the decoder of its form, and the checks of what it finds."""

import numpy as np

from geodl_core.domain.detection.checks import Checked, check_found, score_scale
from geodl_core.domain.detection.decoder import Decode, Decoder, Form, Found, Tensor
from geodl_core.domain.detection.finished import (
    decode_cntk_faster_rcnn,
    decode_detr,
    decode_finished,
    decode_keras_mask_rcnn,
    decode_tensorflow,
    decode_torchvision,
    finished_columns,
)
from geodl_core.domain.detection.retinanet import decode_retinanet_raw
from geodl_core.domain.detection.ssd import decode_ssd, decode_ssd_raw
from geodl_core.domain.detection.yolo import (
    decode_yolo,
    decode_yolo_heads,
    decode_yolo_masks,
    decode_yolo_oriented,
    decode_yolo_transposed,
)
from geodl_core.domain.detection.yolox import decode_yolox
from geodl_core.errors import ModelError

DECODERS: dict[Form, Decode] = {
    "tensorflow": decode_tensorflow,
    "torchvision": decode_torchvision,
    "detr": decode_detr,
    "yolo": decode_yolo,
    "yolo transposed": decode_yolo_transposed,
    "yolo oriented": decode_yolo_oriented,
    "yolo masks": decode_yolo_masks,
    "yolo heads": decode_yolo_heads,
    "finished": decode_finished,
    "yolox": decode_yolox,
    "ssd": decode_ssd,
    "ssd raw": decode_ssd_raw,
    "retinanet raw": decode_retinanet_raw,
    "cntk faster-rcnn": decode_cntk_faster_rcnn,
    "keras mask-rcnn": decode_keras_mask_rcnn,
}


def decode_answer(
    tensors: tuple[Tensor, ...],
    decoder: Decoder,
    input_px: tuple[int, int],
    threshold: float,
    images: int | None = None,
) -> list[Checked]:
    """Decode a network's answer and check what was found.

    Args:
        tensors: in the decoder's order.
        decoder: what `choose_decoder` chose.
        input_px: height and width of the network's input.
        threshold: in [0, 1]; objects of a score above it are kept.
        images: how many were given to the network; answers that say which object is of which image leave those out
            that come last and have none. None: as many as the answer tells.

    Returns:
        one entry an image, boxes in pixels of the network's input, scores in [0, 1].

    Raises:
        ModelError: the answer is not as the form has it, or is none that a detector can mean.
    """
    if len(tensors) != len(decoder.tensors) or not tensors:
        raise ModelError(f"expected the outputs {', '.join(decoder.tensors)}, found {len(tensors)} tensors")
    found = DECODERS[decoder.form](tensors, decoder, input_px, threshold * score_scale(decoder))
    if images is not None and len(found) != images:
        if len(found) > images or not _names_images(tensors[0], decoder):
            raise ModelError(f"output {decoder.tensors[0]!r}: expected {images} images, found {len(found)}")
        found = [*found, *(_nothing() for _ in range(images - len(found)))]
    return [check_found(each, decoder, input_px) for each in found]


def _names_images(tensor: Tensor, decoder: Decoder) -> bool:
    """Say whether rows name their image: then alone images without objects may be missing."""
    columns = finished_columns(decoder, tensor.shape[-1]) if decoder.form == "finished" else None
    return columns is not None and "image" in columns


def _nothing() -> Found:
    return Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

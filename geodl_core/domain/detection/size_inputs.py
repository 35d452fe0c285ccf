"""Inputs that some detectors want beside the image: its size, what of it is no padding, how it was scaled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.network.graph import Tensor
from geodl_core.errors import ModelError


def size_input(tensor: Tensor, input_px: tuple[int, int]) -> npt.NDArray[Any]:
    """Return what such an input is fed, for one image that fills the network's input and was not scaled.

    - six numbers: width and height thrice, as Microsoft's FasterRCNN of CNTK takes them (padded, scaled, original);
    - a mask (N, H, W): 1 everywhere, as DETR of Hugging Face takes `pixel_mask`;
    - a scale factor: 1, as PaddleDetection takes it;
    - two numbers: height and width; width and height where the name says `orig_target_sizes`, as RT-DETR does.

    Args:
        tensor: the input.
        input_px: height and width of the image.

    Raises:
        ModelError: nothing is known of such an input.
    """
    height, width = input_px
    name, dtype, count = tensor.name.lower(), np.dtype(tensor.dtype), len(tensor.shape)
    if "mask" in name and count in (2, 3, 4):
        return np.ones((1,) * (count - 2) + input_px, dtype)
    if tensor.shape[-1:] == (6,) or name.endswith("dims"):
        return np.asarray([width, height] * 3, dtype).reshape((1,) * (count - 1) + (6,))
    if "scale" in name and count <= 2:
        return np.ones([size or 1 for size in tensor.shape[:-1]] + [tensor.shape[-1] or 2], dtype)
    if count in (1, 2) and tensor.shape[-1] in (2, None):
        pair = [width, height] if "orig_target" in name else [height, width]
        return np.asarray(pair, dtype).reshape((1,) * (count - 1) + (2,))
    raise ModelError(
        f"the ONNX input {tensor}: nothing is known of what it wants",
        hint="export the network with the image as its only input",
    )

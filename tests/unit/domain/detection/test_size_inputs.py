"""Inputs beside the image: what each kind that is known of is fed."""

import numpy as np
import pytest

from geodl_core.domain.detection.size_inputs import size_input
from geodl_core.domain.network.graph import Tensor
from geodl_core.errors import ModelError

PX = (480, 640)


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "wanted"),
    [
        ("dims_input", "float32", (1, 6), [[640, 480, 640, 480, 640, 480]]),
        ("Input_dims", "float32", (6,), [640, 480, 640, 480, 640, 480]),
        ("something", "int64", (None, 6), [[640, 480, 640, 480, 640, 480]]),
        ("orig_target_sizes", "int64", (None, 2), [[640, 480]]),
        ("orig_target_sizes", "int64", (2,), [640, 480]),
        ("im_shape", "float32", (1, 2), [[480, 640]]),
        ("image_shape", "float32", (None, None), [[480, 640]]),
        ("scale_factor", "float32", (1, 2), [[1, 1]]),
        ("scale_factor", "float32", (None, None), [[1, 1]]),
        ("im_scale", "float32", (1, 1), [[1]]),
        ("im_scale", "float32", (None,), [1, 1]),
    ],
)
def test_sizes_and_scales(name, dtype, shape, wanted):
    """Sizes come in the order of the network's family, in the type and with as many axes as it declares."""
    found = size_input(Tensor(name, dtype, shape), PX)
    assert found.dtype == dtype
    assert found.tolist() == wanted


@pytest.mark.parametrize("shape", [(1, 480, 640), (None, None, None), (1, 1, 480, 640), (480, 640)])
@pytest.mark.parametrize("dtype", ["int64", "bool", "float32"])
def test_masks_of_padding(shape, dtype):
    """A mask of what is no padding is 1 everywhere: tiles fill the image."""
    found = size_input(Tensor("pixel_mask", dtype, shape), PX)
    assert found.dtype == dtype
    assert found.shape == (1,) * (len(shape) - 2) + PX
    assert np.all(found == 1)


@pytest.mark.parametrize("tensor", [Tensor("prompt", "int64", (1, 77)), Tensor("noise", "float32", (1, 4, 60, 80))])
def test_what_nothing_is_known_of(tensor):
    """Other inputs are refused by name and shape."""
    with pytest.raises(ModelError, match=f"the ONNX input {tensor.name}"):
        size_input(tensor, PX)

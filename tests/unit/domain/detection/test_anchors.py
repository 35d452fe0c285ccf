"""Anchors: those of RetinaNet, of grids and of strides, cell by cell as loops make them; offsets that move them."""

import itertools

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from geodl_core.domain.detection.anchors import (
    anchors_at,
    apply_offsets,
    count_anchors,
    grid_levels,
    retinanet_levels,
    stride_levels,
)
from geodl_core.errors import ModelError

ULTRAFACE = {"strides": [8, 16, 32, 64], "min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]]}


def every(levels) -> np.ndarray:
    return anchors_at(levels, np.arange(count_anchors(levels)))


@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_the_pyramid_of_the_paper(height, width, is_by_scale):
    """By default RetinaNet has 9 anchors a cell in five levels, three areas at three ratios, centred in their cells."""
    levels = retinanet_levels({"anchor_order": "scales"} if is_by_scale else {}, (height, width))
    expected = []
    for level in range(3, 8):
        stride = 2**level
        pairs = list(itertools.product((0.5, 1, 2), range(3)))
        pairs = sorted(pairs, key=lambda pair: pair[1]) if is_by_scale else pairs
        for row, col in itertools.product(range(-(-height // stride)), range(-(-width // stride))):
            for ratio, octave in pairs:
                side = 4 * stride * 2 ** (octave / 3)
                expected.append(((col + 0.5) * stride, (row + 0.5) * stride, side / ratio**0.5, side * ratio**0.5))
    np.testing.assert_allclose(every(levels), expected, rtol=1e-5)


def test_anchors_of_torchvision():
    """With its settings the first anchors are those that torchvision's documentation of its generator gives."""
    # AnchorGenerator(((32,),), ((0.5, 1.0, 2.0),)) has the cell anchors [-23, -11, 23, 11], [-16, …], [-11, -23, …].
    said = {"sizes": [32], "strides": [8], "scales": [1], "offset": 0, "is_rounded": True}
    anchors = every(retinanet_levels(said, (8, 16)))
    cell = [(0, 0, 46, 22), (0, 0, 32, 32), (0, 0, 22, 46)]
    np.testing.assert_array_equal(anchors, [*cell, *((8, 0, w, h) for _, _, w, h in cell)])


def test_grids():
    """Anchors on grids are shares of a cell, those of one zoom after each other; ratios are of height and width."""
    said = {"Grids": [2, [1, 3]], "Zooms": [0.5, 1], "Ratios": [[1, 1], [1, 0.5]]}
    expected = []
    for rows, cols in ((2, 2), (1, 3)):
        for row, col, zoom, (tall, wide) in itertools.product(range(rows), range(cols), (0.5, 1), said["Ratios"]):
            cell_w, cell_h = 90 / cols, 60 / rows
            expected.append(((col + 0.5) * cell_w, (row + 0.5) * cell_h, zoom * wide * cell_w, zoom * tall * cell_h))
    np.testing.assert_allclose(every(grid_levels(said, (60, 90))), expected, rtol=1e-6)


def test_grids_by_default():
    """Where only grids are said, each cell is one anchor."""
    np.testing.assert_allclose(every(grid_levels({"grids": [1]}, (60, 90))), [(45, 30, 90, 60)])


@pytest.mark.shared
def test_anchors_of_a_real_network(shared):
    """UltraFace's settings give the anchors that stand in its graph, once cut to the image."""
    model = onnx.load(shared / "data" / "ultraface_ssd" / "version-RFB-320.onnx")
    constants = [numpy_helper.to_array(node.attribute[0].t) for node in model.graph.node if node.op_type == "Constant"]
    sizes, centres = {each.tobytes(): each[0] for each in constants if each.shape == (1, 4420, 2)}.values()
    anchors = every(stride_levels(ULTRAFACE, (240, 320))) / np.array([320, 240, 320, 240])
    np.testing.assert_allclose(np.minimum(anchors, 1), np.concatenate([centres, sizes], axis=1), atol=1e-6)


def test_cells_of_strides():
    """Where strides do not divide the image, cells are as large as fits into it, or a stride if so said."""
    said = {"strides": [32], "min_sizes": [[10, 20]]}
    fitted, whole = (every(stride_levels({**said, "is_fitted": each}, (40, 32))) for each in (True, False))
    np.testing.assert_array_equal(fitted, [(16, 10, 10, 10), (16, 10, 20, 20), (16, 30, 10, 10), (16, 30, 20, 20)])
    np.testing.assert_array_equal(whole, [(16, 16, 10, 10), (16, 16, 20, 20), (16, 48, 10, 10), (16, 48, 20, 20)])


@given(st.lists(st.integers(0, 4419)))
def test_some_of_all(rows):
    """Anchors of some numbers, in any order and repeated, are those rows of all of them."""
    levels = stride_levels(ULTRAFACE, (240, 320))
    wanted = np.array(rows, np.int64)
    np.testing.assert_array_equal(anchors_at(levels, wanted), every(levels)[wanted])


moderate = st.floats(-4, 4, width=32)


@given(st.lists(st.tuples(*[moderate] * 4), min_size=1), st.sampled_from([(1, 1), (0.1, 0.2)]))
def test_offsets(offsets, variances):
    """Offsets move an anchor by shares of its size and stretch it exponentially: the paper's targets invert it."""
    moves = np.array(offsets, np.float32)
    anchors = np.tile(np.array([[50, 60, 20, 8]], np.float32), (len(moves), 1))
    x0, y0, x1, y1 = apply_offsets(anchors, moves, variances).astype(np.float64).T
    targets = [((x0 + x1) / 2 - 50) / 20, ((y0 + y1) / 2 - 60) / 8, np.log((x1 - x0) / 20), np.log((y1 - y0) / 8)]
    of_centre, of_size = variances
    expected = moves * np.array([of_centre, of_centre, of_size, of_size])
    np.testing.assert_allclose(np.column_stack(targets), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("make", "said", "message"),
    [
        (retinanet_levels, {"sizes": [32, 64]}, "as many sizes as strides, found 2 and 5"),
        (retinanet_levels, {"anchor_order": "sizes"}, "anchor_order is 'sizes', expected one of ratios, scales"),
        (retinanet_levels, {"scales": []}, r"scales is \[\], expected numbers"),
        (retinanet_levels, {"ratios": [[1, 2]]}, "ratios is .*, expected numbers"),
        (retinanet_levels, {"ratios": [1, -2]}, "ratios is .*, expected numbers"),
        (retinanet_levels, {"strides": [0, 1, 2, 3, 4]}, "strides of at least a pixel"),
        (grid_levels, {}, "grids is None, expected lists of numbers"),
        (grid_levels, {"grids": 4}, "grids is 4, expected lists of numbers"),
        (grid_levels, {"grids": [0]}, "grids of at least one cell"),
        (grid_levels, {"grids": [4], "ratios": [1, 2]}, "ratios as pairs"),
        (grid_levels, {"grids": [4], "zooms": ["large"]}, "zooms is .*, expected numbers"),
        (stride_levels, {"strides": [8]}, "min_sizes is None, expected lists of numbers"),
        (stride_levels, {"min_sizes": [[8]]}, "strides is None, expected numbers"),
        (stride_levels, {"strides": [8], "min_sizes": [[8], [9]]}, "min_sizes for each of 1 strides, found 2"),
        (stride_levels, {"strides": [8], "min_sizes": [[8, float("nan")]]}, "min_sizes is .*, expected lists"),
    ],
)
def test_settings_that_do_not_serve(make, said, message):
    """What a definition says of anchors is refused by name where it cannot be read."""
    with pytest.raises(ModelError, match=message):
        make(said, (64, 96))

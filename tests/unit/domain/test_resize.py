"""Pictures at another size, against GDAL's resampling where the two mean the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from scipy.ndimage import map_coordinates

from geodl_core.domain.pixels.resize import fitted, resize

RANDOM = np.random.default_rng(1)


def by_gdal(values, shape, how):
    """Return (C, H, W) values at another size, as GDAL reads them."""
    profile = {"driver": "GTiff", "count": len(values), "dtype": "float32", "transform": from_origin(5, 5, 2, 2)}
    with MemoryFile() as memory:
        with memory.open(**profile, height=values.shape[1], width=values.shape[2]) as dataset:
            dataset.write(values.astype("float32"))
        with memory.open() as dataset:
            return dataset.read(out_shape=(len(values), *shape), resampling=how)


@pytest.mark.parametrize("sizes", [((12, 20), (24, 40)), ((7, 5), (21, 20)), ((10, 10), (13, 27)), ((1, 6), (4, 9))])
def test_larger_is_bilinear(sizes):
    """Larger pictures are GDAL's bilinear ones."""
    size, shape = sizes
    values = RANDOM.random((3, *size), np.float32)
    np.testing.assert_allclose(resize(values, shape), by_gdal(values, shape, Resampling.bilinear), atol=2e-5)


@pytest.mark.parametrize(("size", "shape"), [((24, 40), (12, 20)), ((48, 48), (16, 12)), ((31, 50), (13, 17))])
def test_smaller_is_averaged_under_a_triangle(size, shape):
    """Smaller pictures are GDAL's bilinear ones: a triangle of two new pixels' width over what they cover."""
    values = RANDOM.random((2, *size), np.float32)
    np.testing.assert_allclose(resize(values, shape), by_gdal(values, shape, Resampling.bilinear), atol=2e-5)


def test_against_interpolation_between_centres():
    """Between the outermost centres a larger picture is interpolated linearly between the centres of pixels."""
    values = RANDOM.random((9, 14)).astype(np.float32)
    rows = np.clip((np.arange(30) + 0.5) * 9 / 30 - 0.5, 0, 8)
    cols = np.clip((np.arange(33) + 0.5) * 14 / 33 - 0.5, 0, 13)
    wanted = map_coordinates(values, np.meshgrid(rows, cols, indexing="ij"), order=1)
    np.testing.assert_allclose(resize(values, (30, 33)), wanted, atol=1e-6)


def test_the_same_size_is_the_same():
    """At its own size a picture is itself, as float32."""
    values = RANDOM.integers(0, 65535, (2, 3, 5, 4)).astype("uint16")
    same = resize(values, (5, 4))
    assert same.dtype == np.float32
    np.testing.assert_array_equal(same, values)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(-1000, 1000),
)
def test_what_is_even_stays_even(size, shape, level):
    """A picture of one value keeps it at any size, and none goes beyond the values that there are."""
    level = np.float32(level)
    np.testing.assert_allclose(resize(np.full(size, level), shape), np.full(shape, level), rtol=1e-5, atol=1e-4)
    values = np.random.default_rng(size[0]).random(size, np.float32)
    changed = resize(values, shape)
    assert changed.min() >= values.min() - 1e-5
    assert changed.max() <= values.max() + 1e-5


@pytest.mark.parametrize("times", [2, 3, 4])
def test_the_mean_stays(times):
    """What a whole number of pixels becomes one of keeps its mean, but for the border's share."""
    values = np.zeros((24, 36), np.float32)
    values[6:18, 9:27] = RANDOM.random((12, 18))
    changed = resize(values, (24 // times, 36 // times))
    assert changed.dtype == np.float32
    assert changed.mean() == pytest.approx(values.mean(), rel=1e-5)


def test_a_slope_stays_a_slope():
    """Corners stay corners: a slope of a pixel a column has the same values at the same share of the width."""
    values = np.broadcast_to(np.arange(32) + 0.5, (4, 32))
    for width in (8, 16, 64, 96):
        changed = resize(values, (4, width))[0]
        inner = slice(width // 8, -width // 8)
        np.testing.assert_allclose(changed[inner], ((np.arange(width) + 0.5) * 32 / width)[inner], rtol=1e-5)


def test_pictures_do_not_know_of_each_other():
    """Of many pictures each becomes what it does alone, bit for bit."""
    values = RANDOM.integers(0, 255, (5, 3, 37, 41)).astype("uint8")
    together = resize(values, (20, 64))
    assert together.shape == (5, 3, 20, 64)
    assert together.flags.c_contiguous
    for number in range(5):
        np.testing.assert_array_equal(resize(values[number], (20, 64)), together[number])
        np.testing.assert_array_equal(resize(values[number, 1], (20, 64)), together[number, 1])


@given(st.tuples(st.integers(1, 500), st.integers(1, 500)), st.tuples(st.integers(1, 500), st.integers(1, 500)))
def test_pictures_that_fit(size, target):
    """A fitted picture lies within its target, touches it on one axis, and has about its proportions."""
    height, width = fitted(size, target)
    assert 1 <= height <= target[0]
    assert 1 <= width <= target[1]
    assert height == target[0] or width == target[1]
    scale = min(target[0] / size[0], target[1] / size[1])
    assert abs(height - max(1, size[0] * scale)) <= 0.5
    assert abs(width - max(1, size[1] * scale)) <= 0.5

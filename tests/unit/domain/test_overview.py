"""Overviews: the mode and the mean of 2 × 2 pixels, equal to what is counted pixel by pixel."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.pixels import overview
from geodl_core.domain.pixels.overview import halve_mean, halve_mode, level_shapes

DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32")


def slow_mode(square: list[int], nodata: int) -> int:
    counts = Counter(value for value in square if value != nodata)
    return counts.most_common(1)[0][0] if counts else nodata  # of equal ones the first met


def slow_mean(square: list[int], nodata: int) -> int:
    valid = [value for value in square if value != nodata]
    return int(Fraction(sum(valid), len(valid)) + Fraction(1, 2)) if valid else nodata


def squares_of(values: np.ndarray) -> list[list[int]]:
    """Return the 2 × 2 pixels of (h, w) values in row order."""
    height, width = values.shape
    return values.reshape(height // 2, 2, width // 2, 2).swapaxes(1, 2).reshape(-1, 4).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_square(dtype: str) -> None:
    """Of every arrangement of three values and nodata the mode is the one counted."""
    nodata = int(np.iinfo(dtype).max)
    rows = np.stack(np.meshgrid(*[np.array([0, 5, 9, nodata], dtype)] * 4, indexing="ij"), -1).reshape(-1, 2, 2)
    values = rows.swapaxes(0, 1).reshape(2, -1)
    assert halve_mode(values, nodata)[0].tolist() == [slow_mode(square, nodata) for square in squares_of(values)]
    assert halve_mode(values, nodata).dtype == np.dtype(dtype)
    four = np.array([[1, 2], [3, 4]], dtype)
    assert halve_mode(four, nodata).tolist() == [[1]]
    assert halve_mode(four, 1).tolist() == [[2]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([8, 64, 1 << 18]))
def test_any_shape(rows: int, cols: int, seed: int, strip_px: int) -> None:
    """Mode and mean of layers of any even sides, however they are cut into strips, are those of each layer alone."""
    layers = np.random.default_rng(seed).choice(np.array([0, 1, 2, 254, 255], np.uint8), (3, 2 * rows, 2 * cols))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overview, "STRIP_PX", strip_px)
        modes, means = halve_mode(layers, 255), halve_mean(layers, 255)
    for layer, mode, mean in zip(layers, modes, means, strict=True):
        assert mode.ravel().tolist() == [slow_mode(square, 255) for square in squares_of(layer)]
        assert mean.ravel().tolist() == [slow_mean(square, 255) for square in squares_of(layer)]


@pytest.mark.parametrize("nodata", [0, 65535])
def test_means_of_16_bits(nodata: int) -> None:
    """Means near the end of the range are exact."""
    rng = np.random.default_rng(1)
    values = rng.integers(65500, 65536, (1, 200, 200)).astype(np.uint16)
    values[rng.random(values.shape) < 0.3] = nodata
    assert halve_mean(values, nodata).ravel().tolist() == [
        slow_mean(square, nodata) for square in squares_of(values[0])
    ]


@pytest.mark.parametrize("nodata", [np.nan, -9999.0])
def test_means_of_floats(nodata: float) -> None:
    """Neither nodata nor NaN takes part in a mean of floats; nodata stands where nothing is valid."""
    values = np.array([[[1, 2, nodata, nodata, 0.5, np.nan], [3, 4, nodata, nodata, nodata, 0.25]]], np.float32)
    found = halve_mean(values, nodata)
    np.testing.assert_array_equal(found, np.array([[[2.5, nodata, 0.375]]], np.float32))
    assert found.dtype == np.float32


def test_arrays_that_are_not_contiguous() -> None:
    """A view of every other row and column is halved like its copy, and is left as it was."""
    values = np.random.default_rng(0).integers(0, 4, (2, 40, 60)).astype(np.uint8)[:, ::2, ::-3]
    before = values.copy()
    np.testing.assert_array_equal(halve_mode(values, 3), halve_mode(before, 3))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("halve", [halve_mode, halve_mean])
def test_odd_sides(halve) -> None:
    """Odd sides are refused."""
    with pytest.raises(ValueError, match="even sides, found 3 × 2"):
        halve(np.zeros((1, 3, 2), np.uint8), 255)


def test_level_shapes() -> None:
    """Each overview has half the sides of the one before, rounded up, until both fit into a block."""
    assert level_shapes(512, 1, 512) == ()
    assert level_shapes(513, 100, 512) == ((257, 50),)
    assert level_shapes(10980, 10980, 512) == ((5490, 5490), (2745, 2745), (1373, 1373), (687, 687), (344, 344))

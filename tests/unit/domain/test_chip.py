"""Chips: padding against numpy, upsampling against GDAL."""

from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from geodl_core.domain.pixels.chip import padded_indices, to_class_ids, upsample


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 40), st.sampled_from(["reflect", "edge"]))
def test_padded_indices_against_numpy(size: int, before: int, after: int, pad: str) -> None:
    """Positions outside the scene show what numpy.pad would, also far outside and of a scene of one pixel."""
    indices, inside = padded_indices(-before, size + after, size, pad)
    np.testing.assert_array_equal(indices, np.pad(np.arange(size), (before, after), mode=pad))
    np.testing.assert_array_equal(np.flatnonzero(inside), np.arange(before, before + size))


@given(st.integers(1, 12), st.integers(-40, 40), st.integers(0, 20), st.sampled_from(["reflect", "edge", "constant"]))
def test_padded_indices_do_not_depend_on_the_window(size: int, start: int, length: int, pad: str) -> None:
    """What a position shows depends on the scene alone."""
    whole, whole_inside = padded_indices(-50, 70, size, pad)
    part, part_inside = padded_indices(start, start + length, size, pad)
    np.testing.assert_array_equal(part, whole[start + 50 : start + 50 + length])
    np.testing.assert_array_equal(part_inside, whole_inside[start + 50 : start + 50 + length])
    assert ((part >= 0) & (part < size)).all()


def fine(start: int, stop: int, coarse_start: int = 0) -> tuple[np.ndarray, int]:
    return np.arange(start, stop, dtype=np.int64), coarse_start


def upsample_whole(
    coarse: np.ndarray, valid: np.ndarray, ratio: int, kind: Any = "bilinear"
) -> tuple[np.ndarray, np.ndarray]:
    height, width = coarse.shape
    return upsample(coarse, valid, fine(0, height * ratio), fine(0, width * ratio), (ratio, kind))


def warped(
    coarse: np.ndarray, ratio: int, nodata: float | None, how: Resampling = Resampling.bilinear
) -> tuple[np.ndarray, np.ndarray]:
    """Let GDAL bring the raster to the fine grid: values and their mask."""
    height, width = coarse.shape
    transform = rasterio.Affine(10.0 * ratio, 0, 600000, 0, -10.0 * ratio, 5400000)
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": coarse.dtype}
    with MemoryFile() as memory:
        with memory.open(**profile, crs="EPSG:32632", transform=transform, nodata=nodata) as target:
            target.write(coarse, 1)
        options = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600000, 0, -10, 5400000)}
        with (
            memory.open() as source,
            WarpedVRT(
                source,
                **options,
                height=height * ratio,
                width=width * ratio,
                resampling=how,
                tolerance=1e-9,  # 0 makes rasterio 1.4 fail
            ) as vrt,
        ):
            return vrt.read(1), vrt.read_masks(1) > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 6), st.integers(0, 1 << 30))
def test_upsampling_against_gdal(height: int, width: int, ratio: int, seed: int) -> None:
    """Without nodata a coarse band is upsampled as GDAL does it, in the interior and at the borders."""
    coarse = np.random.default_rng(seed).uniform(0, 100, (height, width)).astype(np.float32)
    values, valid = upsample_whole(coarse, np.ones(coarse.shape, np.bool_), ratio)
    expected, _ = warped(coarse, ratio, None)
    assert valid.all()
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 12), st.integers(6, 12), st.integers(2, 6), st.integers(0, 1 << 30))
def test_cubic_upsampling_against_gdal(height: int, width: int, ratio: int, seed: int) -> None:
    """`cubic` is GDAL's away from the borders, also where pixels far away are invalid; next to those it is bilinear."""
    coarse = np.random.default_rng(seed).uniform(0, 100, (height, width)).astype(np.float32)
    expected, _ = warped(coarse, ratio, None, Resampling.cubic)
    valid = np.ones(coarse.shape, np.bool_)
    inner = np.s_[2 * ratio : -2 * ratio, 2 * ratio : -2 * ratio]
    values, _ = upsample_whole(coarse, valid, ratio, "cubic")
    np.testing.assert_allclose(values[inner], expected[inner], atol=1e-3)
    valid[0, 0] = False
    holed, found = upsample_whole(coarse, valid, ratio, "cubic")
    np.testing.assert_array_equal(holed[3 * ratio :, 3 * ratio :], values[3 * ratio :, 3 * ratio :])
    plain, _ = upsample_whole(coarse, valid, ratio)
    np.testing.assert_array_equal(holed[:ratio, :ratio], plain[:ratio, :ratio])
    assert not found[:ratio, :ratio].any()
    assert np.isfinite(holed).all()


@pytest.mark.parametrize("ratio", [2, 3, 6])
def test_nearest_upsampling(ratio: int) -> None:
    """`nearest` repeats pixels."""
    coarse = np.random.default_rng(ratio).integers(1, 9, (5, 7)).astype(np.uint8)
    valid = coarse != 3
    values, found = upsample_whole(coarse, valid, ratio, "nearest")
    block = np.ones((ratio, ratio), np.uint8)
    np.testing.assert_array_equal(values, np.kron(np.where(valid, coarse, 0), block))
    np.testing.assert_array_equal(found, np.kron(valid, block))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(2, 6), st.floats(0.1, 0.9), st.integers(0, 1 << 30))
def test_upsampling_around_nodata_against_gdal(height: int, width: int, ratio: int, share: float, seed: int) -> None:
    """With nodata the valid neighbours alone count, as GDAL weighs them."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(1, 100, (height, width)).astype(np.float32)
    given_valid = rng.random(coarse.shape) > share
    coarse[~given_valid] = -9999
    values, valid = upsample_whole(coarse, given_valid, ratio)
    expected, expected_valid = warped(coarse, ratio, -9999)
    np.testing.assert_array_equal(valid, np.kron(given_valid, np.ones((ratio, ratio), np.bool_)))
    assert (expected_valid[valid]).all()
    np.testing.assert_allclose(values[valid], expected[valid], atol=1e-3)
    assert (values[~valid] == 0).all()


@settings(max_examples=150)
@given(st.integers(2, 6), st.booleans(), st.integers(0, 1 << 30), st.data())
def test_upsampling_a_window_is_a_part_of_the_whole(ratio: int, has_gaps: bool, seed: int, data: st.DataObject) -> None:
    """A window, cut with one coarse pixel more around, has the values that the whole has there."""
    rng = np.random.default_rng(seed)
    height, width = 7, 6
    coarse = rng.integers(0, 10000, (height, width)).astype(np.uint16)
    valid = rng.random(coarse.shape) > (0.3 if has_gaps else -1)
    whole, whole_valid = upsample_whole(coarse, valid, ratio)
    top, left = data.draw(st.integers(0, height * ratio - 1)), data.draw(st.integers(0, width * ratio - 1))
    bottom, right = data.draw(st.integers(top + 1, height * ratio)), data.draw(st.integers(left + 1, width * ratio))
    first, last = max(top // ratio - 1, 0), min((bottom - 1) // ratio + 2, height)
    begin, end = max(left // ratio - 1, 0), min((right - 1) // ratio + 2, width)
    part, part_valid = upsample(
        coarse[first:last, begin:end],
        valid[first:last, begin:end],
        fine(top, bottom, first),
        fine(left, right, begin),
        (ratio, "bilinear"),
    )
    np.testing.assert_array_equal(part_valid, whole_valid[top:bottom, left:right])
    np.testing.assert_allclose(part, whole[top:bottom, left:right], rtol=1e-6)


def test_upsampling_a_window_is_bit_equal_to_the_whole() -> None:
    """Whether nodata lies in the window or only beyond it does not change a bit of the valid values."""
    rng = np.random.default_rng(7)
    coarse = rng.uniform(0, 10000, (12, 12)).astype(np.float32)
    valid = np.ones(coarse.shape, np.bool_)
    valid[-1, -1] = False
    for ratio in (2, 3, 5, 6, 7):
        whole, _ = upsample_whole(coarse, valid, ratio)
        rows, cols = fine(0, 6 * ratio), fine(0, 6 * ratio)
        part, _ = upsample(coarse[:8, :8], valid[:8, :8], rows, cols, (ratio, "bilinear"))
        np.testing.assert_array_equal(part, whole[: 6 * ratio, : 6 * ratio])


def test_upsampling_never_reads_an_invalid_value() -> None:
    """NaN and nodata values never reach a valid pixel."""
    coarse = np.array([[1.0, np.nan], [np.inf, 4.0]], np.float32)
    valid = np.isfinite(coarse)
    values, fine_valid = upsample_whole(coarse, valid, 2)
    assert np.isfinite(values).all()
    assert values[fine_valid].min() >= 1
    assert values[fine_valid].max() <= 4


@pytest.mark.parametrize(("dtype", "nodata"), [(np.uint8, 255), (np.uint16, 65535), (np.int8, 127)])
def test_to_class_ids(dtype: type, nodata: int) -> None:
    """A pixel holds its class id where valid and nodata elsewhere, in the storage type."""
    rng = np.random.default_rng(1)
    lookup = np.array([5, 0, 100], dtype)
    indices = rng.integers(0, 3, (4, 6)).astype(np.uint8)
    valid = rng.random((4, 6)) > 0.4
    ids = to_class_ids(indices, valid, lookup, nodata)
    assert ids.dtype == dtype
    np.testing.assert_array_equal(ids, np.where(valid, lookup[indices], nodata))
    assert indices.max() <= 2

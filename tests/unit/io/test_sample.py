"""A look at a band's values: valid ones alone, few, by overviews."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from geodl_core.domain.plan.plan import BandSource
from geodl_core.io.scene import sample
from geodl_core.io.scene.sample import sample_values
from scenes import write_raster


def source_of(path: Path, dtype: str, nodata: float | None) -> BandSource:
    return BandSource("a", str(path), 0, dtype, nodata, 1)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 0), ("uint16", 0), ("int16", -9999), ("float32", float("nan"))]
)
def test_valid_values_alone(tmp_path: Path, dtype: str, nodata: float) -> None:
    """Nodata, and NaN among floats, is no value."""
    values = np.arange(1, 101).reshape(1, 10, 10).astype(dtype)
    values[0, :3] = nodata
    found = sample_values(source_of(write_raster(tmp_path / "a.tif", values, nodata=nodata), dtype, nodata))
    np.testing.assert_array_equal(found, np.arange(31, 101))
    assert found.dtype == dtype


def test_few_by_overviews(tmp_path: Path) -> None:
    """No more than 512 × 512 pixels are looked at, from all over the scene."""
    values = np.indices((1500, 2100))[1].astype("uint16")[None] + 1
    path = write_raster(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    found = sample_values(source_of(path, "uint16", None))
    assert 100_000 < found.size <= 512 * 512
    assert found.min() < 10
    assert found.max() > 2090


def test_the_middle_of_what_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large raster without overviews the middle is looked at."""
    monkeypatch.setattr(sample, "SAMPLED_SIDE_PX", 4)
    values = np.zeros((1, 100, 100), "uint16")
    values[0, 48:52, 48:52] = 7
    found = sample_values(source_of(write_raster(tmp_path / "a.tif", values), "uint16", None))
    np.testing.assert_array_equal(found, np.full(16, 7))


def test_nothing_valid(tmp_path: Path) -> None:
    """A band without a valid pixel gives no values."""
    path = write_raster(tmp_path / "a.tif", np.zeros((1, 8, 8), "uint16"), nodata=0)
    assert sample_values(source_of(path, "uint16", 0)).size == 0

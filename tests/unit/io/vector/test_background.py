"""Grounds of previews: the scene as it is, in few pixels, wherever its bands lie."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import array_bounds, from_origin
from rasterio.warp import reproject, transform_bounds

from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.plan import BandSource, Layer, Plan, pack_live
from geodl_core.domain.window import Window
from geodl_core.errors import DataError
from geodl_core.io.scene.raster import raster_facts
from geodl_core.io.vector.background import STRETCH, scene_background
from geodl_core.io.vector.preview import PLAIN
from scenes import ORIGIN, smooth, write_raster


def source_of(path: Path | str, index: int, asset: str = "image", **more: object) -> BandSource:
    return replace(BandSource(asset, str(path), index, "uint16", None, 1), **more)  # type: ignore[arg-type]


def plan_of(grid: Grid, *sources: BandSource, layers: tuple[Layer, ...] = ()) -> Plan:
    live = pack_live(np.ones(1, bool))
    return Plan("j", grid, grid.shape, 0, 1, 0, "reflect", sources, "uint16", live, layers=layers)


def stretched(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values[valid].astype(np.float64), STRETCH)
    return np.where(valid, np.rint(255 * ((values - low) / (high - low)).clip(0, 1)), PLAIN)


@pytest.mark.parametrize("overviews", [[], [2, 4]])
def test_bands_on_the_grid(tmp_path: Path, overviews: list[int]) -> None:
    """Three bands are the colours, averaged as GDAL averages them and stretched between their percentiles."""
    pixels = np.stack([smooth((600, 400), seed) for seed in range(3)])
    path = write_raster(tmp_path / "a.tif", pixels)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews(overviews, Resampling.average)
    plan = plan_of(raster_facts(str(path), "a").grid, *(source_of(path, band) for band in range(3)))
    found = scene_background(plan, 150)
    with rasterio.open(path) as dataset:
        expected = dataset.read(out_shape=(3, 150, 100), resampling=Resampling.average)
    assert found is not None
    assert found.shape == (150, 100, 3)
    for channel, values in enumerate(expected):
        assert np.abs(found[..., channel] - stretched(values, values >= 0)).max() <= 1


def test_colours_by_name_and_grey(tmp_path: Path) -> None:
    """Red, green and blue are found by their names; one or two bands alone are grey."""
    pixels = np.stack([smooth((100, 100), seed) for seed in range(4)])
    path = write_raster(tmp_path / "a.tif", pixels)
    grid = raster_facts(str(path), "a").grid
    names = ("blue", "green", "red", "nir")
    named = scene_background(plan_of(grid, *(source_of(path, band, name) for band, name in enumerate(names))))
    plain = scene_background(plan_of(grid, *(source_of(path, band) for band in (2, 1, 0))))
    np.testing.assert_array_equal(named, plain)
    grey = scene_background(plan_of(grid, source_of(path, 2), source_of(path, 0)))
    assert grey is not None
    assert plain is not None
    for channel in range(3):
        np.testing.assert_array_equal(grey[..., channel], plain[..., 0])


def test_nodata_is_plain(tmp_path: Path) -> None:
    """What is nodata in any band is plain grey, and does not count for the stretch."""
    pixels = np.stack([smooth((80, 90), seed) for seed in range(3)])
    pixels[1, :30] = 9999
    path = write_raster(tmp_path / "a.tif", pixels)
    grid = raster_facts(str(path), "a").grid
    found = scene_background(plan_of(grid, *(source_of(path, band, nodata=9999.0) for band in range(3))))
    valid = np.arange(80)[:, None].repeat(90, 1) >= 30
    assert found is not None
    for channel in range(3):
        assert np.abs(found[..., channel] - stretched(pixels[channel], valid)).max() <= 1
    path = write_raster(tmp_path / "empty.tif", pixels * 0 + 9999)
    empty = scene_background(plan_of(grid, source_of(path, 0, nodata=9999.0)))
    assert empty is not None
    assert (empty == PLAIN).all()


def test_bands_that_lie_otherwise(tmp_path: Path) -> None:
    """A band of another CRS is brought to the grid as GDAL's warper does it; where it does not reach, it is plain."""
    grid = Grid("EPSG:32633", (10.0, 0.0, ORIGIN[0], 0.0, -10.0, ORIGIN[1]), 300, 400)
    truth = np.kron(smooth((38, 50), 1), np.ones((8, 8)))[:300, :400].astype(np.float32)
    west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", *array_bounds(300, 400, grid.affine))
    place = from_origin(west, north, 1e-4, 1e-4)
    there = np.zeros((int((north - south) * 1e4), int((east - west) * 1e4)), np.float32)
    reproject(
        truth, there, src_transform=grid.affine, src_crs=grid.crs, dst_transform=place, dst_crs="EPSG:4326",
        dst_nodata=-1, resampling=Resampling.nearest,
    )  # fmt: skip
    there = there[:, :-100]
    path = write_raster(tmp_path / "a.tif", there[None], crs="EPSG:4326", transform=place)
    source = source_of(path, 0, dtype="float32", nodata=-1.0, ratio=None)
    found = scene_background(plan_of(grid, source), 1024)
    back = np.zeros((300, 400), np.float32)
    reproject(
        there, back, src_transform=place, src_crs="EPSG:4326", dst_transform=grid.affine, dst_crs=grid.crs,
        src_nodata=-1, dst_nodata=-1, resampling=Resampling.nearest,
    )  # fmt: skip
    valid = back != -1
    assert 0.5 < valid.mean() < 0.95
    assert found is not None
    differs = np.abs(found[..., 0] - stretched(back, valid)) > 1
    assert differs.mean() < 0.02


def test_coarser_bands(tmp_path: Path) -> None:
    """A band of larger pixels than the grid's is shown at its places."""
    pixels = smooth((60, 80), 3)[None]
    path = write_raster(tmp_path / "a.tif", pixels, cell=20.0)
    grid = Grid("EPSG:32633", (10.0, 0.0, ORIGIN[0], 0.0, -10.0, ORIGIN[1]), 119, 160)
    found = scene_background(plan_of(grid, source_of(path, 0, ratio=2)))
    assert found is not None
    values = np.kron(pixels[0], np.ones((2, 2)))[:119]
    assert np.abs(found[..., 0] - stretched(values, values > 0)).max() <= 1


def test_mosaics(tmp_path: Path) -> None:
    """Each pixel of a mosaic is of the first Item that has it."""
    west, east = smooth((100, 100), 1), smooth((100, 100), 2)
    west[:, :20] = 0
    paths = [
        write_raster(tmp_path / "w.tif", west[None]),
        write_raster(tmp_path / "e.tif", east[None], transform=from_origin(ORIGIN[0] + 600, ORIGIN[1], 10, 10)),
    ]
    grid = Grid("EPSG:32633", (10.0, 0.0, ORIGIN[0], 0.0, -10.0, ORIGIN[1]), 100, 170)
    layers = tuple(
        Layer(Window(0, left, 100, left + 100), (source_of(path, 0, nodata=0.0),))
        for path, left in zip(paths, (0, 60), strict=True)
    )
    found = scene_background(plan_of(grid, *layers[0].sources, layers=layers))
    expected = np.zeros((100, 170))
    expected[:, 60:160] = east
    expected[:, 20:100] = west[:, 20:]
    assert found is not None
    assert np.abs(found[..., 0] - stretched(expected, expected > 0)).max() <= 1


def test_large_files_without_overviews(tmp_path: Path) -> None:
    """A file that would have to be read whole, and is large, gives no ground; the same with overviews does."""
    grid = Grid("EPSG:32633", (10.0, 0.0, ORIGIN[0], 0.0, -10.0, ORIGIN[1]), 20000, 20000)
    profile = {"driver": "GTiff", "count": 1, "height": 20000, "width": 20000, "dtype": "uint8", "SPARSE_OK": True}
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", **profile, crs=grid.crs, transform=grid.affine, tiled=True):
        pass
    plan = plan_of(grid, source_of(path, 0, dtype="uint8"))
    assert scene_background(plan) is None
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([16], Resampling.nearest)
    assert scene_background(plan, 512) is not None


@pytest.mark.enable_socket
def test_remote_files_that_do_not_open(tmp_path: Path) -> None:
    """A remote file that cannot be read now gives no ground, and no error."""
    grid = Grid("EPSG:32633", (10.0, 0.0, ORIGIN[0], 0.0, -10.0, ORIGIN[1]), 50, 50)
    assert scene_background(plan_of(grid, source_of("http://127.0.0.1:9/a.tif", 0))) is None


def test_damaged_files(tmp_path: Path) -> None:
    """A local file that cannot be decoded is a DataError that names its asset."""
    path = write_raster(tmp_path / "a.tif", smooth((300, 300), 1)[None])
    content = path.read_bytes()
    grid = raster_facts(str(path), "a").grid
    path.write_bytes(content[:2000] + bytes(len(content) - 2000))
    with pytest.raises(DataError, match="image"):
        scene_background(plan_of(grid, source_of(path, 0)))

"""Chips read from rasters: values and validity against numpy, wherever the window lies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from geodl_core.domain.grid import Grid
from geodl_core.domain.job import Pad
from geodl_core.domain.plan import BandSource, Plan, pack_live, tile_shape
from geodl_core.domain.window import Window
from geodl_core.errors import DataError, ItemError
from geodl_core.io.cog import SceneReader, prescan_validity, raster_facts

GRID = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 90, 70)
WINDOWS = [
    Window(10, 20, 42, 52),
    Window(0, 0, 90, 70),
    Window(-16, -16, 32, 32),
    Window(70, 50, 118, 98),
    Window(-100, -100, 150, 130),
    Window(89, 69, 90, 70),
]


def write(
    path: Path, array: np.ndarray, ratio: int = 1, nodata: float | None = None, grid: Grid = GRID, **fields: Any
) -> Path:
    bands = array[None] if array.ndim == 2 else array
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}
    place = {"crs": grid.crs, "transform": grid.affine * Affine.scale(ratio) if ratio > 1 else grid.affine}
    mask = fields.pop("mask", None)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", dtype=bands.dtype, nodata=nodata, **{**profile, **tiles, **place, **fields}) as target,
    ):
        target.write(bands)
        if mask is not None:
            target.write_mask(mask)
    return path


def source(path: Path, index: int = 0, nodata: float | None = None, ratio: int | None = 1) -> BandSource:
    return BandSource(path.stem, str(path), index, "", nodata, ratio)


def plan_of(sources: Sequence[BandSource], dtype: str, pad: Pad = "reflect", grid: Grid = GRID) -> Plan:
    live = pack_live(np.ones(tile_shape(grid, (64, 64)), np.bool_))
    return Plan("job", grid, (64, 64), 0, 1, 0, pad, tuple(sources), dtype, live)


def padded(array: np.ndarray, window: Window, pad: Pad) -> tuple[np.ndarray, np.ndarray]:
    """Cut a window out of a (C, H, W) array after numpy has padded it on all sides."""
    wide = 200
    modes = {"reflect": "reflect", "edge": "edge", "constant": "constant"}
    values = np.pad(array, ((0, 0), (wide, wide), (wide, wide)), mode=modes[pad])  # type: ignore[call-overload]
    inside = np.pad(np.ones(array.shape[1:], np.bool_), wide)
    place = (slice(window.top + wide, window.bottom + wide), slice(window.left + wide, window.right + wide))
    return values[:, *place], inside[place]


def check(plan: Plan, array: np.ndarray, valid: np.ndarray) -> None:
    """Compare every window with the array, whose invalid pixels are 0; the pad repeats them."""
    expected_all = np.where(valid, array, 0)
    with SceneReader(plan) as reader:
        for window in WINDOWS:
            chip = reader.read(window)
            expected, inside = padded(expected_all, window, plan.pad)
            expected_valid, _ = padded(valid[None], window, plan.pad)
            assert chip.pixels.dtype == plan.chip_dtype
            np.testing.assert_array_equal(chip.valid, expected_valid[0] & inside)
            np.testing.assert_array_equal(chip.pixels, expected)


def random(dtype: str, count: int = 1, shape: tuple[int, int] = GRID.shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 100, (count, *shape)).astype(dtype)


def everywhere(shape: tuple[int, int] = GRID.shape) -> np.ndarray:
    return np.ones(shape, np.bool_)


@pytest.mark.parametrize("pad", ["reflect", "edge", "constant"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_bands_of_one_file(tmp_path: Path, pad: Pad, dtype: str, interleave: str) -> None:
    """Bands of one file come in the asked order, in the interior, at the borders and far outside."""
    array = random(dtype, 3)
    path = write(tmp_path / "a.tif", array, interleave=interleave)
    check(plan_of([source(path, 2), source(path, 0)], dtype, pad), array[[2, 0]], everywhere())


def test_several_files_of_several_types(tmp_path: Path) -> None:
    """Files of different types meet in one chip, each band where it belongs."""
    byte, short, real = random("uint8", seed=1), random("int16", 2, seed=2) - 50, random("float32", seed=3) / 7
    paths = [write(tmp_path / f"{name}.tif", array) for name, array in (("b", byte), ("s", short), ("r", real))]
    sources = [source(paths[1], 1), source(paths[0]), source(paths[2]), source(paths[1])]
    array = np.stack([short[1], byte[0], real[0], short[0]]).astype(np.float32)
    check(plan_of(sources, "float32"), array, everywhere())


@pytest.mark.parametrize("is_in_file", [True, False])
@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("int16", -9999), ("float32", -3.4028234663852886e38)])
def test_nodata(tmp_path: Path, dtype: str, nodata: float, is_in_file: bool) -> None:
    """A pixel is invalid where any band has nodata, be it the file's or the Item's."""
    array = random(dtype, 2)
    array[0, 10:20, 5:40] = nodata
    array[1, 80:, 60:] = nodata
    path = write(tmp_path / "a.tif", array, nodata=nodata if is_in_file else None)
    plan = plan_of([source(path, index, nodata) for index in range(2)], dtype)
    check(plan, array, (array != nodata).all(0))


@pytest.mark.parametrize("nodata", [None, float("nan"), -1.0])
def test_nan_and_infinity(tmp_path: Path, nodata: float | None) -> None:
    """NaN and infinity are never valid, whatever nodata is."""
    array = random("float32", 2)
    array[0, :9], array[1, 50:60, 30:], array[0, 85, 3] = np.nan, np.inf, -np.inf
    path = write(tmp_path / "a.tif", array, nodata=nodata)
    plan = plan_of([source(path, index, nodata) for index in range(2)], "float32")
    check(plan, array, np.isfinite(array).all(0))


def test_an_internal_mask(tmp_path: Path) -> None:
    """A file's own mask says what is valid."""
    array, mask = random("uint8", 2), np.random.default_rng(5).random(GRID.shape) > 0.4
    path = write(tmp_path / "a.tif", array, mask=mask)
    check(plan_of([source(path, 0), source(path, 1)], "uint8"), array, mask)


def test_an_alpha_band(tmp_path: Path) -> None:
    """An alpha band says what is valid, and is no band of the chip."""
    array = random("uint8", 4)
    array[3] = np.where(np.random.default_rng(5).random(GRID.shape) > 0.4, 255, 0)
    path = write(tmp_path / "a.tif", array, photometric="RGB", alpha="yes")
    check(plan_of([source(path, index) for index in range(3)], "uint8"), array[:3], array[3] > 0)


@pytest.mark.parametrize("ratio", [2, 6])
@pytest.mark.parametrize("nodata", [None, 0])
def test_coarse_bands(tmp_path: Path, ratio: int, nodata: float | None) -> None:
    """A coarse band beside a fine one is interpolated, and a window of it is a part of the whole."""
    fine = random("uint16")
    shape = (-(-GRID.height // ratio), -(-GRID.width // ratio))
    coarse = random("uint16", shape=shape, seed=9)
    if nodata is not None:
        coarse[0, 3:5, 2:6] = nodata
    paths = write(tmp_path / "f.tif", fine), write(tmp_path / "c.tif", coarse, ratio, nodata)
    plan = plan_of([source(paths[0]), source(paths[1], nodata=nodata, ratio=ratio)], "float32")
    valid = np.kron(coarse[0] != nodata, np.ones((ratio, ratio), np.bool_))[: GRID.height, : GRID.width]
    with SceneReader(plan) as reader:
        whole = reader.read(Window(0, 0, *GRID.shape))
        np.testing.assert_array_equal(whole.valid, valid)
        np.testing.assert_array_equal(whole.pixels[0], np.where(valid, fine[0], 0))
        row, col = 7 * ratio + ratio // 2, 8 * ratio + ratio // 2
        low, high = coarse[0, 6:9, 7:10].min(), coarse[0, 6:9, 7:10].max()
        assert low <= whole.pixels[1, row, col] <= high
        for window in WINDOWS:
            chip = reader.read(window)
            expected, inside = padded(whole.pixels, window, "reflect")
            assert np.array_equal(chip.valid, padded(whole.valid[None], window, "reflect")[0][0] & inside)
            np.testing.assert_allclose(chip.pixels[:, chip.valid], expected[:, chip.valid], rtol=1e-6)


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32633"], ids=["shifted", "reprojected"])
def test_warped_bands(tmp_path: Path, nodata: float | None, crs: str) -> None:
    """A band of another grid, read in windows, is what is read at once; beyond it nothing is valid."""
    grid = Grid("EPSG:32632", (7.0, 0.0, 600003.0, 0.0, -7.0, 5399950.0), 150, 80)
    array = random("uint16", shape=grid.shape) + 100
    target = GRID
    if crs != grid.crs:
        left, _, _, top = rasterio.warp.transform_bounds(grid.crs, crs, 600000, 5399100, 600700, 5400000)
        target = Grid(crs, (10.0, 0.0, left, 0.0, -10.0, top), 90, 70)
    path = write(tmp_path / "w.tif", array, nodata=nodata, grid=grid)
    plan = plan_of([source(path, nodata=nodata, ratio=None)], "float32", grid=target)
    with SceneReader(plan) as reader:
        whole = reader.read(Window(0, 0, 90, 70))
        assert 0.5 < whole.valid.mean() < 1
        values = whole.pixels[0, whole.valid]
        assert values.min() >= array.min()
        assert values.max() <= array.max()
        for window in [*WINDOWS[:1], Window(0, 0, 45, 70), Window(45, 0, 90, 70), Window(3, 5, 33, 70)]:
            chip = reader.read(window)
            place = (slice(window.top, window.bottom), slice(window.left, window.right))
            np.testing.assert_array_equal(chip.valid, whole.valid[place])
            np.testing.assert_array_equal(chip.pixels, whole.pixels[:, *place])


def test_a_truncated_file(tmp_path: Path) -> None:
    """A block that cannot be decoded is a DataError that names asset and place."""
    path = write(tmp_path / "red.tif", random("uint16"))
    path.write_bytes(path.read_bytes()[:-2000])
    plan = plan_of([source(path)], "uint16")
    with pytest.raises(DataError, match=r"asset red: .* rows 0–90"), SceneReader(plan) as reader:
        reader.read(Window(0, 0, 90, 70))


def test_facts(tmp_path: Path) -> None:
    """A raster's header gives grid, types and nodata."""
    facts = raster_facts(str(write(tmp_path / "a.tif", random("int16", 2), nodata=-1)), "a")
    assert (facts.grid, facts.dtypes, facts.nodata) == (GRID, ("int16", "int16"), (-1, -1))


def test_files_that_are_no_rasters(tmp_path: Path) -> None:
    """A file that is missing, is no raster or has no CRS is an ItemError that names the asset."""
    (tmp_path / "text.tif").write_text("text")
    bare = write(tmp_path / "bare.tif", random("uint8"), crs=None)
    for path in (tmp_path / "none.tif", tmp_path / "text.tif", bare):
        with pytest.raises(ItemError, match="asset red"):
            raster_facts(str(path), "red")


@pytest.mark.parametrize("is_in_file", [True, False])
def test_prescan(tmp_path: Path, is_in_file: bool) -> None:
    """Without overviews the pre-scan is the validity itself, with them it is a coarser one."""
    array = random("uint8", shape=(200, 120))
    array[0, :100] = 0
    path = write(tmp_path / "a.tif", array, nodata=0 if is_in_file else None)
    valid = prescan_validity(source(path, nodata=0))
    assert valid is not None
    np.testing.assert_array_equal(valid, array[0] != 0)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8, 16])
    coarse = prescan_validity(source(path, nodata=0))
    assert coarse is not None
    assert coarse.shape == (25, 15)
    assert not coarse[:11].any()
    assert coarse[14:].all()

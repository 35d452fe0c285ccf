"""Chips read from rasters: values and validity against numpy, wherever the window lies."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine

from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.job import Pad
from geodl_core.domain.plan.plan import BandSource, MaskSource, Plan, live_tiles, pack_live, tile_at, tile_shape
from geodl_core.domain.window import Window
from geodl_core.errors import DataError, ItemError
from geodl_core.io.scene import raster
from geodl_core.io.scene.raster import prescan_mask, prescan_validity, raster_facts
from geodl_core.io.scene.scene_reader import SceneReader

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
    with rasterio.open(path) as dataset:
        facts = dataset.dtypes[index], dataset.block_shapes[index]
    return BandSource(path.stem, str(path), index, facts[0], nodata, ratio, facts[1])


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


WIDE = Grid("EPSG:32632", GRID.transform, 1300, 1100)
"""Of several cells."""


def scene_of(folder: Path, pad: Pad = "reflect", **more: Any) -> tuple[Plan, int]:
    """A scene of three files (two bands of one, a coarse one, a mask) in tiles with a halo; and its number of cells."""
    values = random("uint16", 2, WIDE.shape)
    values[0, 700:, :300] = 0
    fine = write(folder / "fine.tif", values, nodata=0, grid=WIDE, blockxsize=128, blockysize=256)
    other = write(folder / "other.tif", random("uint8", shape=WIDE.shape, seed=4), grid=WIDE, tiled=False, blockysize=3)
    coarse = write(folder / "coarse.tif", random("uint16", shape=(650, 550), seed=2), 2, grid=WIDE)
    mask = write(folder / "mask.tif", random("uint8", shape=(650, 550), seed=3) % 7, 2, grid=WIDE)
    plan = plan_of([source(fine, 1, 0), source(coarse, ratio=2), source(fine, 0, 0), source(other)], "float32", pad)
    live = pack_live(np.ones(tile_shape(WIDE, (256, 200)), np.bool_))
    masks = (MaskSource(source(mask, ratio=2), (2, 5)),)
    laid = {"grid": WIDE, "core_px": (256, 200), "halo_px": 40, "step_px": 8, "live": live, "masks": masks}
    # fine 3 × 3, other as it is in strips of full width 20 or 21, coarse and mask 2 × 2
    strips = -(-1300 // 63)
    return replace(plan, **{**laid, **more}), 9 + strips + 4 + 4


def windows_of(plan: Plan) -> list[Window]:
    return [tile_at(plan, int(index)).read for index in live_tiles(plan)]


def assert_same(chips: Any, others: Any) -> None:
    for chip, other in zip(chips, others, strict=True):
        np.testing.assert_array_equal(chip.pixels, other.pixels)
        np.testing.assert_array_equal(chip.valid, other.valid)


@pytest.mark.parametrize("pad", ["reflect", "network", "constant", "edge"])
@pytest.mark.parametrize("panel", [0, 2])
def test_each_block_is_decoded_once(tmp_path: Path, pad: Pad, panel: int) -> None:
    """Over all tiles of a scene, halo and all, each cell of each file is decoded once; nothing is held at the end."""
    plan, cells = scene_of(tmp_path, pad, panel_cols=panel)
    windows = windows_of(plan)
    with SceneReader(plan) as reader:
        reader.announce(windows)
        for window in windows:
            reader.read(window)
        assert reader.store.loaded == cells
        assert reader.store._bytes == 0


@pytest.mark.parametrize("pad", ["reflect", "network"])
@pytest.mark.parametrize("budget", [0, 3_000_000, 1 << 30])
def test_announced_reading_equals_unannounced(tmp_path: Path, pad: Pad, budget: int) -> None:
    """Chips are the same announced or not, in any budget, in many threads, and however many threads decode."""
    plan, _ = scene_of(tmp_path, pad)
    windows = windows_of(plan)
    with SceneReader(plan) as reader:
        expected = [reader.read(window) for window in windows]
    with SceneReader(plan, readers=3, budget_bytes=budget) as reader, ThreadPoolExecutor(4) as pool:
        reader.announce(windows)
        assert_same(pool.map(reader.read, windows), expected)
    with SceneReader(plan, budget_bytes=budget) as reader:
        assert_same((reader.read(window) for window in reversed(windows)), reversed(expected))


def test_panels_save_decoding(tmp_path: Path) -> None:
    """Where the budget is too small for a row of the scene, panels decode less again."""
    plan, _ = scene_of(tmp_path)
    sources = [source for source in plan.sources if source.asset != "other"]
    live = pack_live(np.ones(tile_shape(WIDE, (128, 100)), np.bool_))
    plan = replace(plan, sources=tuple(sources), core_px=(128, 100), halo_px=8, live=live)
    loaded = []
    for panel in (0, 3):
        panels = replace(plan, panel_cols=panel)
        with SceneReader(panels, budget_bytes=1) as reader:
            reader.announce(windows_of(panels))
            for window in windows_of(panels):
                reader.read(window)
            loaded.append(reader.store.loaded)
    assert loaded[1] < loaded[0]


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("pad", ["reflect", "edge"])
def test_masks(tmp_path: Path, ratio: int, pad: Pad) -> None:
    """What a mask leaves out is invalid and keeps its pixels; nodata is invalid and 0."""
    array = random("uint16", 2)
    array[1, 20:30] = 0
    shape = (GRID.height // ratio, GRID.width // ratio)
    classes = random("uint8", shape=shape, seed=7) % 11
    paths = write(tmp_path / "a.tif", array, nodata=0), write(tmp_path / "scl.tif", classes, ratio)
    plan = plan_of([source(paths[0], index, 0) for index in range(2)], "uint16", pad)
    plan = replace(plan, masks=(MaskSource(source(paths[1], ratio=ratio), (0, 3, 9)),))
    measured = (array != 0).all(0)
    kept = ~np.isin(np.kron(classes[0], np.ones((ratio, ratio), np.uint8)), (0, 3, 9))
    values = np.where(measured, array, 0)
    with SceneReader(plan) as reader:
        for window in WINDOWS:
            chip = reader.read(window)
            expected, inside = padded(values, window, pad)
            np.testing.assert_array_equal(chip.pixels, expected)
            is_valid = padded((measured & kept)[None], window, pad)[0][0]
            np.testing.assert_array_equal(chip.valid, is_valid & inside)


def test_two_masks(tmp_path: Path) -> None:
    """Of several masks each takes its own pixels away; they may be bands of one file, or of a band's own."""
    array = random("uint8", 3) % 9
    path = write(tmp_path / "a.tif", array)
    masks = (MaskSource(source(path, 1), (1, 2)), MaskSource(source(path, 2), (8,)), MaskSource(source(path, 0), (0,)))
    plan = replace(plan_of([source(path, 0)], "uint8"), masks=masks)
    expected = ~np.isin(array[1], (1, 2)) & (array[2] != 8) & (array[0] != 0)
    with SceneReader(plan) as reader:
        chip = reader.read(Window(0, 0, *GRID.shape))
    np.testing.assert_array_equal(chip.valid, expected)
    np.testing.assert_array_equal(chip.pixels, array[:1])


@pytest.mark.parametrize("nodata", [None, 0])
def test_warped_masks(tmp_path: Path, nodata: float | None) -> None:
    """A mask of another grid says for each pixel what stands nearest; no class comes to be that it does not have."""
    grid = replace(GRID, transform=(20.0, 0.0, 599993.0, 0.0, -20.0, 5400003.0), height=50, width=40)
    classes = np.where(random("uint8", shape=grid.shape) % 2, 4, 8).astype("uint8")
    mask = write(tmp_path / "scl.tif", classes, nodata=nodata, grid=grid)
    array = random("uint8")
    plan = plan_of([source(write(tmp_path / "a.tif", array))], "uint8")
    rows, cols = np.indices(GRID.shape)
    near = classes[0, ((rows + 0.5) * 10 + 3).astype(int) // 20, ((cols + 0.5) * 10 + 7).astype(int) // 20]
    for values in ((4,), (8,), (4, 8), (6,)):
        masked = replace(plan, masks=(MaskSource(source(mask, nodata=nodata, ratio=None), values),))
        with SceneReader(masked) as reader:
            for window in (Window(0, 0, *GRID.shape), Window(10, 20, 42, 52)):
                chip = reader.read(window)
                place = (slice(window.top, window.bottom), slice(window.left, window.right))
                np.testing.assert_array_equal(chip.valid, ~np.isin(near[place], values))
                np.testing.assert_array_equal(chip.pixels, array[:, *place])


@pytest.mark.parametrize("rows", [1, 7, 64, 200])
@pytest.mark.parametrize("width", [70, 1100])
def test_striped_files(tmp_path: Path, rows: int, width: int) -> None:
    """Files in strips are read as others are, each strip once, however wide they are."""
    grid = replace(GRID, height=300, width=width)
    array = random("uint16", 2, grid.shape)
    path = write(tmp_path / "a.tif", array, grid=grid, tiled=False, blockxsize=None, blockysize=rows)
    assert source(path).block_px == (rows, width)
    plan = plan_of([source(path, 1), source(path, 0)], "uint16", grid=grid)
    windows = [Window(top, left, top + 40, left + 40) for top in range(-8, 290, 24) for left in range(-8, width, 24)]
    with SceneReader(plan) as reader:
        reader.announce(windows)
        for window in windows:
            chip = reader.read(window)
            expected, inside = padded(array[::-1], window, "reflect")
            np.testing.assert_array_equal(chip.pixels, expected)
            np.testing.assert_array_equal(chip.valid, inside)
        if width > 1024:
            assert reader.store.loaded == -(-300 // (rows * max(1, 64 // rows)))
        else:
            assert reader.store.loaded == 1


def test_a_damaged_file_among_several(tmp_path: Path) -> None:
    """What can be read of a damaged file is read; the chip that cannot names asset and place, announced or not."""
    grid = replace(GRID, height=1200, width=600)
    path = write(tmp_path / "red.tif", random("uint16", shape=grid.shape), grid=grid)
    path.write_bytes(path.read_bytes()[:-50])
    whole = write(tmp_path / "nir.tif", random("uint16", shape=grid.shape), grid=grid)
    plan = plan_of([source(path), source(whole)], "uint16", grid=grid)
    windows = [Window(0, 0, 100, 100), Window(1100, 520, 1200, 600), Window(0, 0, 50, 50)]
    for is_announced in (True, False):
        with SceneReader(plan) as reader:
            if is_announced:
                reader.announce(windows)
            assert reader.read(windows[0]).valid.all()
            for _ in range(2):
                with pytest.raises(DataError, match=r"asset red: .* rows 1024–1200, columns 512–600"):
                    reader.read(windows[1])
            assert reader.read(windows[2]).valid.all()


def reduced(found: np.ndarray, joint: int) -> np.ndarray:
    """Brute force: whether any of each `joint` × `joint` is true."""
    rows, cols = (-(-side // joint) for side in found.shape)
    every = [
        [found[r * joint : (r + 1) * joint, c * joint : (c + 1) * joint].any() for c in range(cols)]
        for r in range(rows)
    ]
    return np.array(every)


@pytest.mark.parametrize("kept", [10, 100, 1000])
@pytest.mark.parametrize("strip", [1, 500, 5000])
@pytest.mark.parametrize("shape", [(100, 90), (203, 111), (7, 300), (301, 5)])
def test_prescans_of_large_rasters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int, strip: int, shape: tuple[int, int]
) -> None:
    """Of a large raster what stands together is joined, in any strips, so that no valid pixel is overlooked."""
    monkeypatch.setattr(raster, "KEPT_PIXELS", kept)
    monkeypatch.setattr(raster, "STRIP_PIXELS", strip)
    array = (np.random.default_rng(kept).random((1, *shape)) < 0.03).astype("uint8") * 4
    grid = replace(GRID, height=shape[0], width=shape[1])
    path = write(tmp_path / "a.tif", array, nodata=0, grid=grid)
    joint = 1
    while (shape[0] // joint) * (shape[1] // joint) > kept:
        joint *= 2
    valid = prescan_validity(source(path, nodata=0))
    np.testing.assert_array_equal(valid, reduced(array[0] != 0, joint))
    unmasked = prescan_mask(MaskSource(source(path), (0, 9)))
    np.testing.assert_array_equal(unmasked, reduced(array[0] != 0, joint))
    np.testing.assert_array_equal(prescan_mask(MaskSource(source(path), (4,))), reduced(array[0] == 0, joint))


@pytest.mark.parametrize("strip", [50, 1000])
@pytest.mark.parametrize("shape", [(205, 123), (1001, 77), (64, 64)])
def test_prescans_in_strips_of_overviews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strip: int, shape: tuple[int, int]
) -> None:
    """Overviews that are read in strips are what they are at once."""
    array = random("uint8", shape=shape) % 2
    path = write(tmp_path / "a.tif", array, grid=replace(GRID, height=shape[0], width=shape[1]))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8])
    with rasterio.open(path, overview_level=2) as overview:
        expected = overview.read(1) != 1
    monkeypatch.setattr(raster, "STRIP_PIXELS", strip)
    np.testing.assert_array_equal(prescan_mask(MaskSource(source(path), (1,))), expected)


def test_prescans_that_would_be_dear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit of what is read nothing is said, rather than something wrong."""
    path = write(tmp_path / "a.tif", random("uint8"))
    monkeypatch.setattr(raster, "PRESCAN_PIXELS", 90 * 70 - 1)
    assert prescan_validity(source(path)) is None
    assert prescan_mask(MaskSource(source(path), (1,))) is None

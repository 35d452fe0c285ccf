"""Chips of mosaics: of the first Item that has a pixel, read ahead, each cell once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.cells import cells_touching
from geodl_core.domain.plan.plan import BandSource, Layer, Plan, live_tiles, pack_live, plan_digest, tile_at, tile_shape
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.domain.window import Window
from geodl_core.io.scene.mosaic_reader import MosaicReader
from geodl_core.io.scene.raster import raster_facts
from scenes import smooth, write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 300000.0, 0.0, -10.0, 5300040.0), 1400, 1500)
PLACES = (Window(0, 0, 1000, 900), Window(300, 700, 1400, 1500), Window(380, 380, 400, 400))


def write_layers(folder: Path) -> tuple[tuple[Layer, ...], np.ndarray, np.ndarray]:
    """Write one raster for each place; return the layers and the (2, H, W) mosaic with its validity."""
    mosaic, layers = np.zeros((2, *GRID.shape), "uint16"), []
    for number, place in enumerate(PLACES):
        values = np.stack([smooth(place.shape, 10 * number + band) for band in range(2)])
        rows, cols = np.indices(place.shape)
        values[number % 2, (rows + 2 * cols) % 401 < 40] = 0
        path = write_raster(folder / f"{number}.tif", values, nodata=0)
        block = raster_facts(str(path), "image").block_px
        layers.append(
            Layer(place, tuple(BandSource("image", str(path), band, "uint16", 0.0, 1, block) for band in range(2)))
        )
        target = mosaic[:, place.top : place.bottom, place.left : place.right]
        target[:] = np.where((target == 0).all(0) & (values != 0).all(0), values, target)
    return tuple(layers), mosaic, (mosaic != 0).all(0)


def plan_of(layers: tuple[Layer, ...], core: int = 200, halo: int = 30, dtype: str = "uint16") -> Plan:
    live = pack_live(np.ones(tile_shape(GRID, (core, core)), np.bool_))
    plan = Plan("job", GRID, (core, core), halo, 1, 0, "reflect", layers[0].sources, dtype, live)
    return replace(plan, layers=layers)


def windows_of(plan: Plan) -> list[Window]:
    return [tile_at(plan, int(index)).read for index in live_tiles(plan)]


@pytest.mark.parametrize("threads", [1, 3])
def test_first_valid_and_each_cell_once(tmp_path: Path, threads: int) -> None:
    """Announced windows hold the first Item's pixels that are valid, and each cell is decoded once."""
    layers, mosaic, valid = write_layers(tmp_path)
    plan = plan_of(layers)
    windows = windows_of(plan)
    wide = np.pad(mosaic, ((0, 0), (30, 230), (30, 230)), mode="reflect")
    with MosaicReader(plan) as reader, ThreadPoolExecutor(threads) as pool:
        reader.announce(windows)
        for window, chip in zip(windows, pool.map(reader.read, windows), strict=True):
            place = (slice(window.top + 30, window.bottom + 30), slice(window.left + 30, window.right + 30))
            inside = np.pad(valid, ((30, 230), (30, 230)))[place]
            np.testing.assert_array_equal(chip.valid, inside)
            expected = wide[:, *place]
            shown = (expected != 0).all(0)
            np.testing.assert_array_equal(chip.pixels[:, shown], expected[:, shown])
        for layer, scene in zip(layers, reader.readers, strict=True):
            cells = scene._files[0].cells
            whole = Window(0, 0, *layer.window.shape)
            assert scene.store.loaded == len(cells_touching(cells, whole))
            assert not scene.store._held


def test_reads_ahead_within_the_budget(tmp_path: Path) -> None:
    """All Items together hold no more than the budget, but for the two windows that each is always ahead."""
    layers, _, _ = write_layers(tmp_path)
    plan = plan_of(layers)
    windows = windows_of(plan)
    budget = 24 << 20
    with MosaicReader(plan, budget_bytes=budget) as reader:
        reader.announce(windows)
        assert any(scene.store.loaded for scene in reader.readers)
        for window in windows:
            reader.read(window)
        assert sum(scene.store.most_bytes for scene in reader.readers) <= budget


def test_windows_that_meet_an_item_in_the_same_part(tmp_path: Path) -> None:
    """A small Item within the halos of many tiles is read for each of them, and let go after the last."""
    layers, _, _ = write_layers(tmp_path)
    plan = plan_of((layers[2],), core=400, halo=60)
    windows = windows_of(plan)
    with MosaicReader(plan) as reader:
        reader.announce(windows)
        found = sum(reader.read(window).valid.any() for window in windows)
        assert found == 4
        assert reader.readers[0].store.loaded == 1
        assert not reader.readers[0].store._held
        assert not reader.readers[0].store._pins


def test_own_scale_and_offset(tmp_path: Path) -> None:
    """Each Item's floor, scale and offset are applied in float32; what none has is the first one's 0."""
    layers, _, _ = write_layers(tmp_path)
    first = Radiometry("reflectance", (0.5, 0.25), (-3.0, 1.0), None)
    second = Radiometry("reflectance", (2.0, 4.0), (10.0, 20.0), None, floor=(1000.0, float("-inf")))
    scaled = tuple(
        replace(layer, radiometry=radiometry) for layer, radiometry in zip(layers[:2], (first, second), strict=True)
    )
    raw = plan_of(layers[:2])
    window = Window(400, 650, 700, 1100)
    with MosaicReader(raw) as reader, MosaicReader(plan_of((layers[0],))) as one:
        plain, of_first = reader.read(window), one.read(window).valid
    with MosaicReader(plan_of(scaled, dtype="float32")) as reader:
        chip = reader.read(window)
    values = plain.pixels.astype("float32")
    by_first = values * np.float32([[[0.5]], [[0.25]]]) + np.float32([[[-3]], [[1]]])
    floored = np.maximum(values, np.float32([[[1000]], [[-np.inf]]]))
    by_second = floored * np.float32([[[2]], [[4]]]) + np.float32([[[10]], [[20]]])
    expected = np.where(of_first, by_first, by_second)
    np.testing.assert_array_equal(chip.valid, plain.valid)
    np.testing.assert_array_equal(chip.pixels[:, chip.valid], expected[:, chip.valid])
    nothing = ~plain.pixels.any(0)
    assert (chip.pixels[:, nothing] == np.float32([[-3.0], [1.0]])).all()


def test_digest_is_without_hrefs(tmp_path: Path) -> None:
    """The plan's digest follows the Items' order, not where their files lie."""
    layers, _, _ = write_layers(tmp_path)
    moved = tuple(
        replace(layer, sources=tuple(replace(source, href="elsewhere") for source in layer.sources)) for layer in layers
    )
    assert plan_digest(plan_of(layers)) == plan_digest(plan_of(moved))
    assert plan_digest(plan_of(layers)) != plan_digest(plan_of(layers[::-1]))

"""Rasters brought to a grid, against GDAL's warper and against what was sampled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.placing import map_positions, place
from geodl_core.domain.plan.plan import BandSource
from geodl_core.domain.window import Window
from geodl_core.io.scene.raster import grid_of
from geodl_core.io.scene.warp import read_mask_on_grid, read_on_grid

UTM = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 300, 280)
TARGETS = {
    "same CRS, shifted": Grid("EPSG:32632", (10.0, 0.0, 600203.7, 0.0, -10.0, 5399801.3), 250, 240),
    "zone": Grid("EPSG:32633", (10.0, 0.0, 158900.0, 0.0, -10.0, 5409400.0), 280, 260),
    "mercator": Grid("EPSG:3857", (15.0, 0.0, 1153000.0, 0.0, -15.0, 6230900.0), 280, 260),
    "degrees": Grid("EPSG:4326", (9e-5, 0.0, 10.362, 0.0, -9e-5, 48.744), 290, 400),
    "rotated": Grid("EPSG:32632", tuple(Affine(9, 0, 600600, 0, -9, 5399990) @ Affine.rotation(-30))[:6], 200, 200),
}
WHOLE = {"bilinear": Resampling.bilinear, "cubic": Resampling.cubic, "nearest": Resampling.nearest}


@contextmanager
def raster(array: np.ndarray, grid: Grid = UTM, **fields: Any) -> Iterator[Any]:
    """An open raster of (bands, h, w) values."""
    mask = fields.pop("mask", None)
    profile = {"driver": "GTiff", "count": len(array), "height": grid.height, "width": grid.width, "dtype": array.dtype}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(**profile, crs=grid.crs, transform=grid.affine, **fields) as target:
            target.write(array)
            if mask is not None:
                target.write_mask(mask)
        with memory.open() as dataset:
            yield dataset


def sources_of(dataset: Any, grid: Grid, wanted: Any = "bilinear", nodata: Any = None) -> list[BandSource]:
    placing = place(grid, grid_of(dataset, "red"), "red", wanted)
    marks = nodata if isinstance(nodata, tuple) else (nodata,) * dataset.count
    return [
        BandSource("red", "", index, dtype, marks[index], None, (1, 1), placing.kind, placing.shrink)
        for index, dtype in enumerate(dataset.dtypes)
    ]


def read(dataset: Any, grid: Grid, wanted: Any = "bilinear", nodata: Any = None) -> tuple[np.ndarray, np.ndarray]:
    sources = sources_of(dataset, grid, wanted, nodata)
    return read_on_grid(dataset, sources, grid, Window(0, 0, *grid.shape))


def by_gdal(dataset: Any, grid: Grid, how: Resampling) -> tuple[np.ndarray, np.ndarray]:
    options = {"crs": grid.crs, "transform": grid.affine, "height": grid.height, "width": grid.width}
    with WarpedVRT(dataset, **options, resampling=how, tolerance=1e-9, add_alpha=True, XSCALE=1, YSCALE=1) as view:
        values = view.read()
    return values[:-1], values[-1] > 0


def inner(valid: np.ndarray, by: int = 4) -> np.ndarray:
    """Pixels that are not near invalid ones, nor the border."""
    found = np.zeros_like(valid)
    found[by:-by, by:-by] = np.lib.stride_tricks.sliding_window_view(valid, (2 * by + 1, 2 * by + 1)).all((2, 3))
    return found


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("how", WHOLE)
def test_against_gdal(name: str, how: str) -> None:
    """Interpolated pixels are those of GDAL's warper with an exact transformer, to a thousandth of the range."""
    array = np.random.default_rng(1).uniform(0, 1000, (2, *UTM.shape)).astype("float32")
    grid = TARGETS[name]
    with raster(array) as dataset:
        values, valid = read(dataset, grid, how)
        expected, reached = by_gdal(dataset, grid, WHOLE[how])
    both = inner(valid & reached)
    assert both.sum() > 15000
    assert (valid != reached).mean() < 1e-3
    wrong = np.abs(values - expected)[:, both]
    # At a tie of two pixels the nearest one is a matter of the last bit.
    assert (wrong.max() if how != "nearest" else np.mean(wrong > 0)) < (1 if how != "nearest" else 1e-4)


@pytest.mark.parametrize("target", ["EPSG:32632", "EPSG:3857"])
def test_means_against_gdal(target: str) -> None:
    """Means of finer pixels are GDAL's averages but for how the border pixels of an area are weighed."""
    rows, cols = np.indices(UTM.shape)
    smooth = 500 + 300 * np.sin(rows / 9) * np.cos(cols / 11)
    grid = {
        "EPSG:32632": Grid(target, (47.0, 0.0, 600010.0, 0.0, -47.0, 5399980.0), 60, 55),
        "EPSG:3857": Grid(target, (70.0, 0.0, 1153000.0, 0.0, -70.0, 6230900.0), 60, 55),
    }[target]
    with raster(smooth[None].astype("float32")) as dataset:
        assert sources_of(dataset, grid)[0].kind == "average"
        values, valid = read(dataset, grid)
        expected, reached = by_gdal(dataset, grid, Resampling.average)
    both = inner(valid & reached, 2)
    assert both.sum() > 1000
    assert np.abs(values - expected)[:, both].max() < 3
    assert np.abs((values - expected)[:, both].mean()) < 0.05


@pytest.mark.parametrize("factor", [2, 3, 6])
@pytest.mark.parametrize("offset", [(0, 0), (1, 2), (-3, 5)])
def test_whole_pixels_give_exact_means(factor: int, offset: tuple[int, int]) -> None:
    """Where lines of pixels coincide a mean is numpy's, and half of the pixels suffice."""
    array = np.random.default_rng(factor).integers(0, 10000, (2, *UTM.shape)).astype("uint16")
    array[0, 30:90, 40:47] = 0
    top, left = offset
    grid = Grid(UTM.crs, tuple(UTM.affine @ Affine.translation(left, top) @ Affine.scale(factor))[:6], 40, 41)
    with raster(array) as dataset:
        values, valid = read(dataset, grid, nodata=0)
    wide = np.pad(array, ((0, 0), (10, 0), (10, 0)))[:, 10 + top :, 10 + left :][:, : 40 * factor, : 41 * factor]
    blocks = wide.reshape(2, 40, factor, 41, factor).swapaxes(2, 3).astype(float)
    measured = (blocks != 0).all(0)
    count = measured.sum((2, 3))
    np.testing.assert_array_equal(valid, 2 * count >= factor**2)
    expected = np.where(valid, (blocks * measured).sum((3, 4)) / np.maximum(count, 1), 0)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def wave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth scene: its wavelength is 30 to 60 of the coarsest pixels."""
    return np.asarray(1000 + 300 * np.sin(x / 400 + 0.3) + 200 * np.cos(y / 350) + 100 * np.sin((x + y) / 500))


def on(grid: Grid, field: Callable[..., np.ndarray], crs: str = UTM.crs) -> np.ndarray:
    """The field at the centres of a grid's pixels."""
    x, y = map_positions(grid, crs, Window(0, 0, *grid.shape))
    return field(x - 600000, y - 5397000)


def shift_of(found: np.ndarray, expected: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Least squares: by how many pixels (rows, columns) `found` is moved against `expected`."""
    slopes = np.gradient(expected)
    # Interpolation flattens what is bent, which is no shift.
    bends = [np.gradient(slope)[axis] for axis, slope in enumerate(slopes)]
    known = np.stack([part[use] for part in (*slopes, *bends)], axis=1)
    solved, *_ = np.linalg.lstsq(known, (found - expected)[use], rcond=None)
    return np.asarray(solved[:2])


@pytest.mark.parametrize("how", ["bilinear", "cubic"])
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("cell", [10, 20, 60])
def test_nothing_is_moved(cell: int, name: str, how: str) -> None:
    """Bands of 10, 20 and 60 m lie on any grid where they were measured, to a hundredth of its pixels."""
    size = 3000 // cell
    band = Grid(UTM.crs, (cell, 0.0, 600000.0, 0.0, -cell, 5400000.0), size, size)
    grid = TARGETS[name]
    with raster(on(band, wave)[None].astype("float32"), band) as dataset:
        values, valid = read(dataset, grid, how)
    use = inner(valid, 2 * cell // 10 + 2)
    assert use.sum() > 4000
    assert np.abs(shift_of(values[0], on(grid, wave), use)).max() < 0.01


@pytest.mark.parametrize("cell", [20, 25, 60])
def test_means_are_not_moved(cell: int) -> None:
    """Pixels of 10 m that are averaged lie where they were measured, whether or not lines of pixels coincide."""
    for away in (0.0, 5.0, 3.7):
        grid = Grid(UTM.crs, (cell, 0.0, 600060 + away, 0.0, -cell, 5399940 - away), 2400 // cell, 2400 // cell)
        with raster(on(UTM, wave)[None].astype("float32")) as dataset:
            values, valid = read(dataset, grid)
        assert np.abs(shift_of(values[0], on(grid, wave), inner(valid, 2))).max() < 0.01


@pytest.mark.parametrize("mark", ["nodata", "nan", "mask", "alpha", "a nodata value a band"])
@pytest.mark.parametrize("how", ["bilinear", "cubic", "average"])
def test_what_is_not_measured_reaches_no_pixel(mark: str, how: str) -> None:
    """Nodata of each band, NaN, masks and alpha are left out of every kernel, and are not valid."""
    hole = np.zeros(UTM.shape, np.bool_)
    hole[100:140, 90:150] = hole[200, 200] = True
    dtype = {"nan": "float32", "mask": "uint16", "alpha": "uint8"}.get(mark, "int16")
    array = np.full((3, *UTM.shape), 100, dtype)
    wild = {"nan": np.nan, "alpha": 255, "mask": 65535}.get(mark, -9999)
    array[0][hole] = wild
    fields: dict[str, Any] = {"nan": {}, "mask": {"mask": ~hole}, "nodata": {"nodata": -9999}}.get(mark, {})
    nodata: Any = {"nodata": -9999}.get(mark)
    if mark == "alpha":
        array = np.concatenate([array, np.where(hole, 0, 255)[None].astype("uint8")])
        fields = {"photometric": "RGB", "alpha": "yes"}
    if mark == "a nodata value a band":
        array[1][hole] = 7
        nodata = (-9999, 7, None)
    cell = 30 if how == "average" else 9
    grid = Grid(UTM.crs, (cell, 0.0, 600003.0, 0.0, -cell, 5399996.0), 2700 // cell, 2500 // cell)
    with raster(array, **fields) as dataset:
        sources = sources_of(dataset, grid, "bilinear" if how == "average" else how, nodata)[:3]
        values, valid = read_on_grid(dataset, sources, grid, Window(0, 0, *grid.shape))
    assert sources[0].kind == how
    assert 0.5 < valid.mean() < 1
    np.testing.assert_allclose(values[:, valid], 100, rtol=1e-5)
    assert (values[:, ~valid] == 0).all()
    middle = (1200 // cell, 1200 // cell)
    assert not valid[middle]


@pytest.mark.parametrize("name", TARGETS)
def test_windows_are_parts_of_the_whole(name: str) -> None:
    """Read window by window a raster is bit for bit what it is read at once, means too."""
    grid = TARGETS[name]
    array = np.random.default_rng(3).uniform(0, 1000, (1, *UTM.shape)).astype("float32")
    array[0, 50:60] = -1
    coarse = Grid(grid.crs, tuple(grid.affine @ Affine.scale(5.3))[:6], grid.height // 5, grid.width // 5)
    with raster(array) as dataset:
        for target in (grid, coarse):
            whole, whole_valid = read(dataset, target, nodata=-1)
            for top in range(0, target.height, 37):
                window = Window(top, 5, min(top + 37, target.height), target.width - 3)
                values, valid = read_on_grid(dataset, sources_of(dataset, target, nodata=-1), target, window)
                cut = np.s_[..., window.top : window.bottom, window.left : window.right]
                np.testing.assert_array_equal(valid, whole_valid[cut])
                np.testing.assert_allclose(values, whole[cut], rtol=1e-4, atol=1e-3)


def test_only_what_is_needed_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell far inside a large raster reads little more than its own pixels."""
    large = Grid(UTM.crs, UTM.transform, 4000, 4000)
    sizes = []
    with raster(np.zeros((1, 4000, 4000), "uint8"), large) as dataset:

        class Watched:
            def __getattr__(self, name: str) -> Any:
                return getattr(dataset, name)

            def read(self, indexes: Any, window: Any) -> Any:
                sizes.append((window.height, window.width))
                return dataset.read(indexes, window=window)

        grid = Grid("EPSG:3857", (15.0, 0.0, 1150000.0, 0.0, -15.0, 6230000.0), 2600, 2600)
        read_on_grid(Watched(), sources_of(dataset, grid), grid, Window(1024, 1024, 1536, 1536))
    assert len(sizes) == 1
    assert max(sizes[0]) < 560


def test_longitudes_are_taken_as_the_raster_counts_them() -> None:
    """Across the antimeridian a raster of 178 to 182 degrees fills a grid in UTM, and one of -182 to -178."""
    band = Grid("EPSG:4326", (0.01, 0.0, 178.0, 0.0, -0.01, 10.0), 300, 400)
    rows, cols = np.indices(band.shape)
    array = np.stack([rows, cols]).astype("float32")
    for grid in (
        Grid("EPSG:32601", (1000.0, 0.0, 150000.0, 0.0, -1000.0, 1090000.0), 250, 200),
        Grid("EPSG:4326", (0.013, 0.0, -181.5, 0.0, -0.013, 9.5), 150, 200),
        Grid("EPSG:3832", (1100.0, 0.0, 3200000.0, 0.0, -1100.0, 1090000.0), 250, 200),
    ):
        with raster(array, band) as dataset:
            values, valid = read(dataset, grid)
        lon, lat = map_positions(grid, "EPSG:4326", Window(0, 0, *grid.shape))
        assert valid.mean() > 0.9
        np.testing.assert_allclose(values[0][valid], ((10 - lat) / 0.01 - 0.5)[valid], atol=0.51)
        np.testing.assert_allclose(values[1][valid], ((lon % 360 - 178) / 0.01 - 0.5)[valid], atol=0.51)


def test_masks_keep_their_values() -> None:
    """A mask shows what is stored nearest, nodata too, and says where it does not reach."""
    classes = np.random.default_rng(2).integers(0, 12, (1, *UTM.shape)).astype("uint8")
    grid = Grid(UTM.crs, (30.0, 0.0, 599970.0, 0.0, -30.0, 5400030.0), 50, 50)
    with raster(classes, nodata=0) as dataset:
        values, found = read_mask_on_grid(
            dataset, sources_of(dataset, grid, "nearest", 0)[0], grid, Window(0, 0, 50, 50)
        )
    assert not found[0].any()
    assert not found[:, 0].any()
    np.testing.assert_array_equal(values[1:, 1:], classes[0, 1:147:3, 1:147:3])

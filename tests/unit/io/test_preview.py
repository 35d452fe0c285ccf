"""Previews: a class map in its colours, transparent where there is no class."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from geodl_core.domain.classes import ClassEntry
from geodl_core.errors import StoreError
from geodl_core.io.cog.preview import PREVIEW_PX, write_preview

CLASSES = (ClassEntry(0, "a", (10, 20, 30)), ClassEntry(3, "b", (200, 100, 0)), ClassEntry(300, "c", (0, 0, 255)))


def class_map(path: Path, array: np.ndarray) -> Path:
    profile = {"driver": "GTiff", "count": 1, "height": array.shape[0], "width": array.shape[1], "dtype": array.dtype}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600000, 0, -10, 5400000)}
    with rasterio.open(path, "w", **profile, **place) as target:
        target.write(array, 1)
    return path


def picture_of(path: Path) -> np.ndarray:
    """Return (4, h, w): red, green, blue and opacity of each pixel, be it stored or in a palette."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as picture:
            pixels: np.ndarray = picture.read()
            if len(pixels) == 4:
                return pixels
            colours = picture.colormap(1)
            palette = np.array([colours[index] for index in range(len(colours))], np.uint8)
            return np.moveaxis(palette[pixels[0]], 2, 0)


@pytest.mark.parametrize("shape", [(1, 1), (300, 200), (1500, 700), (3, 5000), (5000, 3)])
def test_sizes(tmp_path: Path, shape: tuple[int, int]) -> None:
    """The longer side has at most 1024 pixels and the shorter its share; nothing lies beside picture and raster."""
    raster = class_map(tmp_path / "a.tif", np.zeros(shape, np.uint8))
    write_preview(tmp_path / "p.png", raster, CLASSES)
    share = min(1, PREVIEW_PX / max(shape))
    assert picture_of(tmp_path / "p.png").shape == (4, *(max(1, round(side * share)) for side in shape))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tif", "p.png"]


def test_colours(tmp_path: Path) -> None:
    """Each class has its colour; nodata and values without a class are transparent."""
    array = np.array([[0, 3], [300, 65535], [7, 0]], np.uint16)
    write_preview(tmp_path / "p.png", class_map(tmp_path / "a.tif", array), CLASSES)
    expected = [[(10, 20, 30, 255), (200, 100, 0, 255)], [(0, 0, 255, 255), (0,) * 4], [(0,) * 4, (10, 20, 30, 255)]]
    np.testing.assert_array_equal(picture_of(tmp_path / "p.png"), np.moveaxis(np.array(expected), 2, 0))


def test_the_same_bytes(tmp_path: Path) -> None:
    """The same class map gives the same bytes, whatever it is called."""
    array = np.random.default_rng(0).choice(np.array([0, 3, 255], np.uint8), (1200, 900))
    for name in ("a", "b"):
        write_preview(tmp_path / f"{name}.png", class_map(tmp_path / f"{name}.tif", array), CLASSES)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_rasters_that_cannot_be_read(tmp_path: Path) -> None:
    """Without a raster, or without a place for the picture, the error is a StoreError that names it."""
    raster = class_map(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(StoreError, match=r"p\.png"):
        write_preview(tmp_path / "p.png", tmp_path / "none.tif", CLASSES)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        write_preview(tmp_path / "file" / "p.png", raster, CLASSES)
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize("count", [1, 255, 256, 300])
def test_many_classes(tmp_path: Path, count: int) -> None:
    """However many classes there are, each has its colour, and nodata none."""
    classes = tuple(ClassEntry(value * 7, str(value), (value % 256, value // 2, 9)) for value in range(count))
    array = np.array([[*(entry.value for entry in classes), 65535]], np.uint16)
    write_preview(tmp_path / "p.png", class_map(tmp_path / "a.tif", array), classes)
    expected = [*((*entry.color, 255) for entry in classes), (0, 0, 0, 0)]
    assert picture_of(tmp_path / "p.png")[:, 0].T.tolist() == [list(colour) for colour in expected]

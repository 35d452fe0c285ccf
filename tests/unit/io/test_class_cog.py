"""Class maps as COGs: valid, coloured, the same bytes each time."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo.cogeo import cog_validate

from geodl_core.domain.classes import ClassEntry, Storage
from geodl_core.domain.grid import Grid
from geodl_core.domain.window import Window
from geodl_core.errors import StoreError
from geodl_core.io.class_cog import ClassRaster, write_class_cog, write_preview

CLASSES = (ClassEntry(0, "a", (10, 20, 30)), ClassEntry(3, "b", (200, 100, 0)), ClassEntry(7, "c", (0, 0, 255)))
FULL_DISK = """
import resource, sys
sys.path[:0] = sys.argv[1:2]
import test_class_cog as tests
from pathlib import Path
from geodl_core.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    tests.write(Path(sys.argv[2]), tests.random(900))
except StoreError as error:
    sys.exit(error.exit_code)
"""


def random(size: int, dtype: str = "uint8", values: tuple[int, ...] = (0, 3, 7, 255)) -> np.ndarray:
    return np.random.default_rng(size).choice(np.array(values, dtype), (size, size))


def raster_of(array: np.ndarray, nodata: int = 255, classes: tuple[ClassEntry, ...] = CLASSES) -> ClassRaster:
    grid = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), *array.shape)
    return ClassRaster(grid, Storage(str(array.dtype), nodata), classes)


def strips_of(array: np.ndarray, step: int = 200) -> Iterator[tuple[Window, np.ndarray]]:
    for top in range(0, array.shape[0], step):
        strip = array[top : top + step]
        yield Window(top, 0, top + len(strip), array.shape[1]), strip


def write(path: Path, array: np.ndarray, **fields: object) -> dict[int, int]:
    return write_class_cog(path, raster_of(array, **fields), strips_of(array))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 100, 513, 1500])
def test_class_maps_are_cogs(tmp_path: Path, size: int) -> None:
    """The file is a valid COG with the values, nodata and colours given, and nothing lies beside it."""
    array, path = random(size), tmp_path / "a.tif"
    counts = write(path, array)
    is_valid, errors, doubts = cog_validate(path, strict=True)
    assert (is_valid, errors, doubts) == (True, [], [])
    values, times = np.unique(array, return_counts=True)
    assert counts == dict(zip(values.tolist(), times.tolist(), strict=True))
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), array)
        assert (dataset.nodata, dataset.dtypes, dataset.crs.to_epsg()) == (255, ("uint8",), 32632)
        colours = dataset.colormap(1)
        assert [colours[entry.value][:3] for entry in CLASSES] == [entry.color for entry in CLASSES]
        factors = dataset.overviews(1)
        assert bool(factors) == (size > 512)
    for level in range(len(factors)):
        with rasterio.open(path, overview_level=level) as overview:
            assert set(np.unique(overview.read(1)).tolist()) <= set(values.tolist())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("dtype", "nodata", "value"),
    [
        ("uint16", 65535, 40000),
        ("uint32", 2**32 - 1, 2**31),
        ("int8", 127, -5),
        ("int16", 32767, -300),
        ("int32", 2**31 - 1, -70000),
    ],
)
def test_every_storage_type(tmp_path: Path, dtype: str, nodata: int, value: int) -> None:
    """Every type that class ids may need is written and read back."""
    array, path = random(600, dtype, (0, value, nodata)), tmp_path / "a.tif"
    counts = write(path, array, nodata=nodata, classes=(CLASSES[0], ClassEntry(value, "far", (1, 2, 3))))
    assert sum(counts.values()) == array.size
    assert cog_validate(path, strict=True)[0]
    with rasterio.open(path) as dataset:
        assert (dataset.dtypes, dataset.nodata) == ((dtype,), nodata)
        np.testing.assert_array_equal(dataset.read(1), array)


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw"])
def test_same_strips_same_bytes(tmp_path: Path, compression: str) -> None:
    """The same pixels give the same bytes, whatever the name, however they are cut into strips."""
    array = random(1100)
    for name, step in (("a", 200), ("b", 200), ("c", 512), ("d", 1100)):
        strips = strips_of(array, step)
        write_class_cog(tmp_path / f"{name}.tif", raster_of(array), strips, compression)  # type: ignore[arg-type]
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1
    assert str(tmp_path).encode() not in contents.pop()


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    """Strips that end with an error leave no file, and keep the older one."""

    def strips() -> Iterator[tuple[Window, np.ndarray]]:
        yield next(strips_of(random(300)))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_class_cog(tmp_path / "a.tif", raster_of(random(300)), strips())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [1000, 100_000, 400_000, 809_000])
def test_a_full_disk(tmp_path: Path, limit: int) -> None:
    """Where the file does not fit, be it the draft, the error is transient and nothing is left."""
    target = tmp_path / "a.tif"
    command = [sys.executable, "-c", FULL_DISK, str(Path(__file__).parent), str(target), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A target below a file is a StoreError."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        write(tmp_path / "file" / "a.tif", random(10))


@pytest.mark.parametrize("size", [1, 300, 1500])
def test_previews(tmp_path: Path, size: int) -> None:
    """The picture has the classes' colours and is transparent where there is no class."""
    array, path = random(size), tmp_path / "a.tif"
    array[: size // 2] = 3
    array[size // 2 :] = 3 if size == 1 else 255
    write(path, array)
    write_preview(tmp_path / "p.png", path, raster_of(array))
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "p.png") as picture:
            pixels = picture.read()
    assert max(pixels.shape[1:]) <= 1024
    assert pixels[:, 0, 0].tolist() == [200, 100, 0, 255]
    assert pixels[3, -1, -1] == (255 if size == 1 else 0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tif", "p.png"]

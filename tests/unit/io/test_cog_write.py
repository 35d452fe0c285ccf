"""COGs from blocks that are compressed already: valid, the pixels given, overviews as told, always the same bytes."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rio_cogeo.cogeo import cog_validate

from geodl_core.domain.grid import Grid
from geodl_core.domain.pixels.overview import halve_mean, halve_mode
from geodl_core.errors import DataError, StoreError
from geodl_core.io.cog.block_codec import BlockFormat, encode_block, nodata_block
from geodl_core.io.cog.cog_write import CogSpec, halve, write_cog

COLOURS = {0: (10, 20, 30), 3: (200, 100, 0), 7: (0, 0, 255)}
SIZES = [(1, 1), (511, 512), (513, 513), (1300, 700), (40, 2100)]
FULL_DISK = """
import resource, sys
sys.path[:0] = sys.argv[1:2]
import test_cog_write as tests
from pathlib import Path
from geodl_core.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    tests.write(Path(sys.argv[2]), tests.noise(1300, 900))
except StoreError as error:
    sys.exit(error.exit_code)
"""


class ArrayBlocks:
    """The blocks of a (C, H, W) array; those that are all nodata are left out."""

    def __init__(self, spec: CogSpec, array: np.ndarray) -> None:
        self.spec, self.array = spec, array
        self.payloads: dict[tuple[int, int], bytes] = {}

    def block(self, row: int, col: int) -> np.ndarray:
        side = self.spec.format.block_px
        block = nodata_block(self.spec.format)
        part = self.array[:, row * side : (row + 1) * side, col * side : (col + 1) * side]
        block[:, : part.shape[1], : part.shape[2]] = part
        return block

    def size(self, row: int, col: int) -> int | None:
        block = self.block(row, col)
        if np.array_equal(block, nodata_block(self.spec.format), equal_nan=block.dtype.kind == "f"):
            return None
        return len(self.payload(row, col))

    def payload(self, row: int, col: int) -> bytes:
        if (row, col) not in self.payloads:
            self.payloads[row, col] = encode_block(self.spec.format, self.block(row, col))
        return self.payloads[row, col]

    def half(self, row: int, col: int) -> np.ndarray:
        return halve(self.block(row, col), self.spec.format, self.spec.halve)


class FewBlocks:
    """Blocks of one value at the places given, nodata elsewhere."""

    def __init__(self, spec: CogSpec, values: Mapping[tuple[int, int], int]) -> None:
        self.spec, self.values = spec, values

    def block(self, row: int, col: int) -> np.ndarray:
        return np.full(self.spec.format.shape, self.values[row, col], self.spec.format.dtype)

    def size(self, row: int, col: int) -> int | None:
        return len(self.payload(row, col)) if (row, col) in self.values else None

    def payload(self, row: int, col: int) -> bytes:
        return encode_block(self.spec.format, self.block(row, col))

    def half(self, row: int, col: int) -> np.ndarray:
        return self.block(row, col)[:, ::2, ::2]


def noise(height: int, width: int, dtype: str = "uint8", nodata: int = 255) -> np.ndarray:
    """Class ids with nodata among them, and the last block of nodata alone."""
    rng = np.random.default_rng(height)
    array = rng.choice(np.array((0, 3, 7, nodata), dtype), (1, height, width))
    array[:, height // 512 * 512 :, width // 512 * 512 :] = nodata
    return array


def spec_of(array: np.ndarray, compression: str = "deflate", nodata: float = 255, **fields: object) -> CogSpec:
    grid = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), *array.shape[1:])
    block = BlockFormat(str(array.dtype), len(array), nodata, compression)  # type: ignore[arg-type]
    return CogSpec(grid, block, **fields)  # type: ignore[arg-type]


def write(path: Path, array: np.ndarray, pool: ThreadPoolExecutor | None = None, **fields: object) -> None:
    spec = spec_of(array, **fields)  # type: ignore[arg-type]
    write_cog(path, spec, ArrayBlocks(spec, array), pool)


def levels_of(path: Path) -> list[np.ndarray]:
    """Return the pixels of the image and its overviews."""
    with rasterio.open(path) as dataset:
        levels = [dataset.read()]
        count = len(dataset.overviews(1))
    for level in range(count):
        with rasterio.open(path, overview_level=level) as overview:
            levels.append(overview.read())
    return levels


def assert_valid(path: Path) -> None:
    assert cog_validate(path, strict=True) == (True, [], [])


def padded(values: np.ndarray, nodata: float) -> np.ndarray:
    """Make the sides of (C, h, w) values even."""
    return np.pad(values, [(0, 0), *((0, side % 2) for side in values.shape[1:])], constant_values=nodata)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("dtype", "nodata", "compression", "colours"),
    [
        ("uint8", 255, "deflate", COLOURS),
        ("uint8", 255, "lzw", {}),
        ("uint16", 65535, "zstd", COLOURS),
        ("uint16", 65535, "deflate", {}),
        ("int16", -1, "zstd", COLOURS),
    ],
)
def test_class_maps(
    tmp_path: Path, size: tuple[int, int], dtype: str, nodata: int, compression: str, colours: dict
) -> None:
    """The file is a valid COG with the values, nodata and colours given, each overview the mode of the one before."""
    array, path = noise(*size, dtype, nodata), tmp_path / "a.tif"
    write(path, array, compression=compression, nodata=nodata, colours=colours)
    assert_valid(path)
    image, *overviews = levels_of(path)
    np.testing.assert_array_equal(image, array)
    assert bool(overviews) == (max(size) > 512)
    for finer, coarser in pairwise([image, *overviews]):
        np.testing.assert_array_equal(coarser, halve_mode(padded(finer, nodata), nodata))
    with rasterio.open(path) as dataset:
        assert (dataset.nodata, dataset.dtypes, dataset.crs.to_epsg()) == (nodata, (dtype,), 32632)
        assert dataset.compression.name.lower().startswith(compression)
        if colours and dtype != "int16":
            found = dataset.colormap(1)
            assert [found[value][:3] for value in colours] == list(colours.values())
        else:
            with pytest.raises(ValueError, match="NULL color table"):
                dataset.colormap(1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("dtype", "nodata", "samples", "predictor"), [("float32", np.nan, 2, 3), ("uint8", 255, 3, 1), ("uint8", 0, 4, 2)]
)
def test_several_samples(
    tmp_path: Path, size: tuple[int, int], dtype: str, nodata: float, samples: int, predictor: int
) -> None:
    """Scores of several classes lie in one file, by name, each overview the mean of the one before."""
    rng = np.random.default_rng(samples)
    array = (rng.random((samples, *size)) * 200 + 1).astype(dtype)
    array[rng.random(array.shape) < 0.2] = nodata
    names = tuple(f"class {index} ä" for index in range(samples))
    block = BlockFormat(dtype, samples, nodata, "deflate", predictor=predictor)  # type: ignore[arg-type]
    spec = CogSpec(spec_of(array, nodata=nodata).grid, block, descriptions=names, halve="mean")
    path = tmp_path / "a.tif"
    write_cog(path, spec, ArrayBlocks(spec, array))
    assert_valid(path)
    levels = levels_of(path)
    np.testing.assert_array_equal(levels[0], array)
    for finer, coarser in pairwise(levels):
        np.testing.assert_array_equal(coarser, halve_mean(padded(finer, nodata), nodata))
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == names
        assert dataset.interleaving.name == "pixel"
        assert dataset.colorinterp[0].name == "gray"
        np.testing.assert_equal(dataset.nodata, nodata)


def test_bigtiff_reads_the_same(tmp_path: Path) -> None:
    """A file forced to be BigTIFF is one, is valid, and holds the same."""
    array = noise(1300, 700)
    for name, is_big in (("classic", False), ("big", True)):
        write(tmp_path / name, array, is_big=is_big, colours=COLOURS)
        assert_valid(tmp_path / name)
        assert (tmp_path / name).read_bytes()[:4] == (b"II\x2b\0" if is_big else b"II\x2a\0")
    with rasterio.open(tmp_path / "classic") as classic, rasterio.open(tmp_path / "big") as big:
        assert classic.profile == big.profile
        assert classic.colormap(1) == big.colormap(1)
    for one, other in zip(levels_of(tmp_path / "classic"), levels_of(tmp_path / "big"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_files_become_bigtiff(tmp_path: Path) -> None:
    """A file is BigTIFF just where its offsets need it."""

    class Counted(FewBlocks):
        """Tells of blocks too large for classic TIFF, which never get written."""

        def size(self, row: int, col: int) -> int | None:
            return 1 << 31 if (row, col) in self.values else None

    spec = spec_of(noise(1000, 1000))
    with pytest.raises(DataError, match=r"block 0, 0: expected 2147483648 bytes, found \d+"):
        write_cog(tmp_path / "a.tif", spec, Counted(spec, {(0, 0): 3, (0, 1): 3}))
    assert list(tmp_path.iterdir()) == []


def test_gdal_finds_the_same_mode(tmp_path: Path) -> None:
    """Where one value is the most frequent, GDAL's overviews hold it too."""
    array = noise(1024, 1024)
    write(tmp_path / "a.tif", array)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=1024, width=1024, count=1, dtype="uint8", nodata=255, crs="EPSG:32632",
            transform=spec_of(array).grid.affine,
        ) as dataset:  # fmt: skip
            dataset.write(array)
            dataset.build_overviews([2], Resampling.mode)
        with memory.open(overview_level=0) as dataset:
            expected = dataset.read(1)
    squares = array[0].reshape(512, 2, 512, 2).swapaxes(1, 2).reshape(512, 512, 4)
    times = np.sort([(squares == value).sum(2) for value in (0, 3, 7)], axis=0)
    clear = times[-1] > times[-2]
    assert clear.mean() > 0.3
    np.testing.assert_array_equal(levels_of(tmp_path / "a.tif")[1][0][clear], expected[clear])


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw"])
def test_same_blocks_same_bytes(tmp_path: Path, compression: str) -> None:
    """The same pixels give the same bytes, with threads or without, whether nodata blocks are left out or not."""
    array = noise(1100, 1600)
    spec = spec_of(array, compression)

    class AllBlocks(ArrayBlocks):
        def size(self, row: int, col: int) -> int | None:
            return len(self.payload(row, col))

    write_cog(tmp_path / "a.tif", spec, ArrayBlocks(spec, array))
    write_cog(tmp_path / "b.tif", spec, AllBlocks(spec, array))
    with ThreadPoolExecutor(2) as pool:
        write_cog(tmp_path / "c.tif", spec, ArrayBlocks(spec, array), pool)
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1
    assert str(tmp_path).encode() not in contents.pop()


def test_a_block_of_another_size(tmp_path: Path) -> None:
    """A payload that is not as long as was told is an error, the older file stays."""
    (tmp_path / "a.tif").write_bytes(b"older")
    array = noise(700, 700)
    spec = spec_of(array)

    class Short(ArrayBlocks):
        def size(self, row: int, col: int) -> int | None:
            return (super().size(row, col) or 0) + row

    with pytest.raises(DataError, match=r"block 1, 0: expected \d+ bytes, found \d+"):
        write_cog(tmp_path / "a.tif", spec, Short(spec, array))
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"older"]


@pytest.mark.parametrize("limit", [100, 100_000, 400_000])
def test_a_full_disk(tmp_path: Path, limit: int) -> None:
    """Where the file or its overviews do not fit, the error is transient and nothing is left."""
    command = [sys.executable, "-c", FULL_DISK, str(Path(__file__).parent), str(tmp_path / "a.tif"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A target below a file is a StoreError."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        write(tmp_path / "file" / "a.tif", noise(10, 10))


def test_a_huge_empty_raster(tmp_path: Path) -> None:
    """A raster of 100,000 × 100,000 pixels with few blocks needs little time and memory."""
    places = {(0, 0): 3, (100, 77): 7, (195, 195): 3}
    grid = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 100_000, 100_000)
    spec = CogSpec(grid, BlockFormat("uint8", 1, 255, "deflate"), COLOURS)
    tracemalloc.start()
    try:
        write_cog(tmp_path / "a.tif", spec, FewBlocks(spec, places))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.overviews(1) == [2, 4, 8, 16, 32, 64, 128, 256]
        for (row, col), value in places.items():
            window = rasterio.windows.Window(col * 512, row * 512, 512, 512)
            assert set(np.unique(dataset.read(1, window=window)).tolist()) == {value}
    with rasterio.open(tmp_path / "a.tif", overview_level=3) as overview:
        values, times = np.unique(overview.read(1), return_counts=True)
    assert dict(zip(values.tolist(), times.tolist(), strict=True))[7] == 32 * 32


@pytest.mark.gdal
@pytest.mark.parametrize("is_big", [False, True])
def test_gdalinfo_knows_the_layout(tmp_path: Path, is_big: bool) -> None:
    """GDAL's own program takes the file for one of its COGs, and every checksum can be computed."""
    path = tmp_path / "a.tif"
    write(path, noise(1300, 700), is_big=is_big, colours=COLOURS)
    done = subprocess.run(["gdalinfo", "-json", "-checksum", path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    info = json.loads(done.stdout)
    assert info["metadata"]["IMAGE_STRUCTURE"] == {"COMPRESSION": "DEFLATE", "INTERLEAVE": "BAND", "LAYOUT": "COG"}
    assert [overview["size"] for overview in info["bands"][0]["overviews"]] == [[350, 650], [175, 325]]
    assert info["bands"][0]["block"] == [512, 512]

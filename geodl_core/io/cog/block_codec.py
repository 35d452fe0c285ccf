"""Blocks of a COG, compressed one by one by GDAL, ready to be copied into a file."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio gives it no class of its own
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from geodl_core.domain.plan.job import COMPRESSIONS, Compression
from geodl_core.errors import DataError, InputError
from geodl_core.io.cog.tiff_tags import (
    CLASSIC,
    COMPRESSION,
    LONG,
    TILE_OFFSETS,
    TILE_SIZES,
    Tags,
    directory,
    header,
    integer_tag,
    read_tags,
)

LEVELS: dict[Compression, dict[str, int]] = {"deflate": {"ZLEVEL": 1}, "zstd": {"ZSTD_LEVEL": 1}, "lzw": {}}
"""Class maps gain little from higher ones."""
CODES: dict[Compression, int] = {"deflate": 8, "zstd": 50000, "lzw": 5}
"""What the tag Compression says."""
PLACELESS = Affine(2.0, 0.0, 0.0, 0.0, -2.0, 0.0)
"""Any transform but the identity: rasterio warns of files that have none."""

Values = npt.NDArray[Any]
Predictor = Literal[1, 2, 3]


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """All that the bytes of a block depend on, its pixels apart.

    Raises:
        ValueError: an unknown type or compression, nodata that the type cannot hold, a side TIFF does not allow.
    """

    dtype: str
    samples: int
    """Values a pixel, which lie together (PLANARCONFIG 1)."""
    nodata: float
    compression: Compression
    block_px: int = 512
    predictor: Predictor = 1
    """TIFF's: none for class maps; 2 for other integers, 3 for floats."""

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise ValueError(f"compression: expected one of {', '.join(COMPRESSIONS)}, found {self.compression}")
        if self.samples < 1 or self.block_px < 16 or self.block_px % 16:
            raise ValueError(f"expected samples and sides of n · 16, found {self.samples} and {self.block_px}")
        dtype = np.dtype(self.dtype)
        fits = dtype.kind == "f" or (
            float(self.nodata).is_integer() and np.iinfo(dtype).min <= self.nodata <= np.iinfo(dtype).max
        )
        if not fits:
            raise ValueError(f"nodata: expected a value of {self.dtype}, found {self.nodata}")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.samples, self.block_px, self.block_px


def half_format(block: BlockFormat) -> BlockFormat:
    """Return how blocks at half their size are stored, before they meet in an overview."""
    return replace(block, block_px=block.block_px // 2)


def nodata_block(block: BlockFormat) -> Values:
    """Return a new (samples, block, block) array of nodata."""
    return np.full(block.shape, block.nodata, block.dtype)


def profile(block: BlockFormat) -> dict[str, Any]:
    """Return what rasterio has to know to write a GeoTIFF of such blocks, its size and place apart."""
    options: dict[str, Any] = {"PHOTOMETRIC": "MINISBLACK"} if block.samples > 1 else {}  # else three would be RGB
    return {
        "driver": "GTiff",
        "count": block.samples,
        "dtype": block.dtype,
        "nodata": block.nodata,
        "tiled": True,
        "blockxsize": block.block_px,
        "blockysize": block.block_px,
        "interleave": "pixel",
        "compress": block.compression,
        "predictor": block.predictor,
        "endianness": "LITTLE",
        "bigtiff": "NO",
        **LEVELS[block.compression],
        **options,
    }


def encode_block(block: BlockFormat, values: Values) -> bytes:
    """Return a block as it lies in a TIFF file; the same bytes for the same pixels, in any thread.

    Args:
        block: the format.
        values: (samples, block, block) of the format's type, nodata beyond the raster's edge.

    Raises:
        ValueError: another shape or type.
        InputError: this GDAL cannot write the compression.
    """
    if values.shape != block.shape or values.dtype != np.dtype(block.dtype):
        raise ValueError(f"expected {block.shape} {block.dtype}, found {values.shape} {values.dtype}")
    try:
        with MemoryFile() as memory:
            with memory.open(**_one_tile(block)) as dataset:
                dataset.write(values)
            content = memory.getbuffer()
            tags = read_tags(content)
            check_compression(block, tags)
            (start,), (length,) = tags[TILE_OFFSETS].integers, tags[TILE_SIZES].integers
            return bytes(content[start : start + length])
    except (RasterioError, CPLE_BaseError) as error:
        raise InputError(f"GDAL cannot write {block}: {error}") from error


def check_compression(block: BlockFormat, tags: Tags) -> None:
    """Check that GDAL compressed as it was told; a codec it was built without is no more than a warning to it.

    Raises:
        InputError: it did not.
    """
    found, expected = tags[COMPRESSION].integers, CODES[block.compression]
    if found != [expected]:
        raise InputError(
            f"compression {block.compression}: expected TIFF's code {expected} from GDAL, found {found}",
            hint="this GDAL may be built without it; take deflate",
        )


def decode_block(block: BlockFormat, payload: bytes) -> Values:
    """Return the (samples, block, block) pixels that `encode_block` was given.

    Raises:
        DataError: these are not the bytes of such a block.
    """
    if not payload:  # GDAL would take the block for one that was left out
        raise DataError(f"a block without bytes cannot be decoded as {block}")
    try:
        with MemoryFile(_prefix(block, len(payload)) + payload) as memory, memory.open() as dataset:
            values: Values = dataset.read()
            return values
    except (RasterioError, CPLE_BaseError) as error:
        raise DataError(f"a block of {len(payload)} bytes cannot be decoded as {block}: {error}") from error


def _one_tile(block: BlockFormat) -> dict[str, Any]:
    return {**profile(block), "height": block.block_px, "width": block.block_px, "transform": PLACELESS}


def _prefix(block: BlockFormat, payload_bytes: int) -> bytes:
    """Return what stands before the only tile of a file."""
    tags = {**_tile_tags(block), TILE_OFFSETS: integer_tag(LONG, [0]), TILE_SIZES: integer_tag(LONG, [payload_bytes])}
    length = CLASSIC.header_bytes + len(directory(tags, 0, True, CLASSIC))
    tags[TILE_OFFSETS] = integer_tag(LONG, [length])
    return header(CLASSIC.header_bytes, CLASSIC) + directory(tags, CLASSIC.header_bytes, True, CLASSIC)


@lru_cache(maxsize=8)
def _tile_tags(block: BlockFormat) -> Tags:
    with MemoryFile() as memory:
        with memory.open(**_one_tile(block), SPARSE_OK=True):
            pass
        return read_tags(memory.getbuffer())

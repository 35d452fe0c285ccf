"""Where everything lies in a COG: what GDAL's COG driver would write, its header made before any block is.

Header, GDAL's structural metadata, the directories of the image and its overviews from fine to coarse, then the blocks
of the coarsest overview to those of the image, row by row, each between its length and a repetition of its last bytes.
Source: GDAL's documentation of the COG driver, "File format details", and its `validate_cloud_optimized_geotiff.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio gives it no class of its own
from rasterio.errors import CRSError, RasterioError
from rasterio.io import MemoryFile

from geodl_core.domain.grid import Grid
from geodl_core.domain.pixels.overview import level_shapes
from geodl_core.errors import InputError
from geodl_core.io.cog.block_codec import BlockFormat, check_compression, profile
from geodl_core.io.cog.tiff_tags import (
    BIG,
    CLASSIC,
    LENGTH,
    LONG,
    TILE_OFFSETS,
    TILE_SIZES,
    WIDTH,
    Flavour,
    Tag,
    directory,
    directory_bytes,
    header,
    integer_tag,
    read_tags,
)

COLOURED_TYPES = ("uint8", "uint16")
"""TIFF colour tables exist for these alone."""
CLASSIC_BYTES = 1 << 32
"""No longer file has offsets of 32 bits throughout."""
GHOST = (
    "LAYOUT=IFDS_BEFORE_DATA\n"
    "BLOCK_ORDER=ROW_MAJOR\n"
    "BLOCK_LEADER=SIZE_AS_UINT4\n"
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
    "KNOWN_INCOMPATIBLE_EDITION=NO\n "  # room for YES, which an editor of the file writes there
)
FRAME_BYTES = 8
"""Before and after each block."""
REDUCED_IMAGE = integer_tag(LONG, [1])
NEW_SUBFILE_TYPE = 254
MAIN_ONLY = (33550, 33922, 34264, 34735, 34736, 34737, 42112)
"""Tags that overviews go without: GeoTIFF's, and GDAL's metadata."""

Sizes = npt.NDArray[np.int64]
"""Bytes of the blocks of one level by row and column, without their frames."""


@dataclass(frozen=True, slots=True)
class CogSpec:
    """What is known of a COG before its pixels.

    Raises:
        ValueError: descriptions that are not one a sample; a mean of what has none.
    """

    grid: Grid
    format: BlockFormat
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    """Value → red, green, blue in 0–255; left out where TIFF has no colour tables: but for one sample of 8 or 16 bits,
    unsigned."""
    descriptions: Sequence[str] = ()
    """Names of the samples, all or none."""
    halve: Literal["mode", "mean"] = "mode"
    """How overviews come about."""
    scale: float = 1.0
    """Meaning = stored value × scale, as GDAL keeps it."""
    is_big: bool = False
    """BigTIFF even where classic TIFF would do."""

    def __post_init__(self) -> None:
        if self.descriptions and len(self.descriptions) != self.format.samples:
            raise ValueError(f"expected {self.format.samples} descriptions, found {len(self.descriptions)}")
        if self.halve == "mean" and self.format.dtype not in ("uint8", "uint16", "float32"):
            raise ValueError(f"there are no means of {self.format.dtype}")


def image_shapes(spec: CogSpec) -> tuple[tuple[int, int], ...]:
    """Return (height, width) in pixels of the image and its overviews, finest first."""
    return (spec.grid.shape, *level_shapes(*spec.grid.shape, spec.format.block_px))


def blocks_shape(shape: tuple[int, int], block_px: int) -> tuple[int, int]:
    """Return how many rows and columns of blocks an image of (height, width) pixels has."""
    return -(-shape[0] // block_px), -(-shape[1] // block_px)


def cog_header(spec: CogSpec, sizes: Sequence[Sizes]) -> bytes:
    """Return all that stands before the first block.

    Args:
        spec: of the COG.
        sizes: of the blocks of the image and its overviews, finest first, as `image_shapes`.

    Raises:
        InputError: GDAL cannot describe such a raster.
    """
    levels = _level_tags(spec)
    flavour = BIG if spec.is_big or _total_bytes(levels, sizes, CLASSIC) > CLASSIC_BYTES else CLASSIC
    first = flavour.header_bytes + len(_ghost())
    place = _header_bytes(levels, sizes, flavour)
    parts: list[bytes] = []
    starts = {}
    for index in reversed(range(len(sizes))):
        starts[index] = place
        place += int(_framed(sizes[index]).sum())
    at = first
    for index, (tags, size) in enumerate(zip(levels, sizes, strict=True)):
        placed = _placed(tags, size, starts[index], flavour)
        parts.append(directory(placed, at, index == len(levels) - 1, flavour))
        at += len(parts[-1])
    return b"".join([header(first, flavour), _ghost(), *parts])


def framed_block(payload: bytes) -> bytes:
    """Return a block as it lies in the file: its length, its bytes, the last four of them again."""
    return b"".join([len(payload).to_bytes(4, "little"), payload, payload[-4:].rjust(4, b"\0")])


def _ghost() -> bytes:
    text = f"GDAL_STRUCTURAL_METADATA_SIZE={len(GHOST):06} bytes\n{GHOST}".encode()
    return text + b"\0" * (len(text) % 2)


def _framed(sizes: Sizes) -> Sizes:
    framed: Sizes = sizes.astype(np.int64) + FRAME_BYTES
    return framed


def _placed(tags: dict[int, Tag], sizes: Sizes, start: int, flavour: Flavour) -> dict[int, Tag]:
    """Add where the blocks lie, the first frame of which begins at `start`."""
    framed = _framed(sizes).ravel()
    offsets = start + np.cumsum(framed) - framed + 4
    return tags | {
        TILE_OFFSETS: integer_tag(flavour.offsets, offsets),
        TILE_SIZES: integer_tag(LONG, sizes.ravel()),
    }


def _header_bytes(levels: Sequence[dict[int, Tag]], sizes: Sequence[Sizes], flavour: Flavour) -> int:
    placed = [_placed(tags, size, 0, flavour) for tags, size in zip(levels, sizes, strict=True)]
    return flavour.header_bytes + len(_ghost()) + sum(directory_bytes(tags, flavour) for tags in placed)


def _total_bytes(levels: Sequence[dict[int, Tag]], sizes: Sequence[Sizes], flavour: Flavour) -> int:
    return _header_bytes(levels, sizes, flavour) + sum(int(_framed(size).sum()) for size in sizes)


def _level_tags(spec: CogSpec) -> list[dict[int, Tag]]:
    """Return the tags of the image and of each overview, as GDAL writes them, without the places of blocks."""
    try:
        main = _gdal_tags(spec)
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise InputError(f"GDAL cannot describe a raster of {spec.grid.shape} {spec.format}: {error}") from error
    small = {code: tag for code, tag in main.items() if code not in MAIN_ONLY} | {NEW_SUBFILE_TYPE: REDUCED_IMAGE}
    levels = [main]
    for height, width in image_shapes(spec)[1:]:
        levels.append(small | {WIDTH: integer_tag(LONG, [width]), LENGTH: integer_tag(LONG, [height])})
    return levels


def _gdal_tags(spec: CogSpec) -> dict[int, Tag]:
    """Have GDAL make the header of the image, without a single block."""
    options: dict[str, Any] = {
        **profile(spec.format),
        "height": spec.grid.height,
        "width": spec.grid.width,
        "crs": spec.grid.crs,
        "transform": spec.grid.affine,
        "SPARSE_OK": True,
    }
    with MemoryFile() as memory:
        with memory.open(**options) as dataset:
            if spec.scale != 1:
                dataset.scales = (spec.scale,) * spec.format.samples
            for index, name in enumerate(spec.descriptions, 1):
                dataset.set_band_description(index, name)
            if spec.colours and spec.format.samples == 1 and spec.format.dtype in COLOURED_TYPES:
                dataset.write_colormap(1, {value: (*colour, 255) for value, colour in spec.colours.items()})
        tags = read_tags(memory.getbuffer())
    check_compression(spec.format, tags)
    return {code: tag for code, tag in tags.items() if code not in (TILE_OFFSETS, TILE_SIZES)}

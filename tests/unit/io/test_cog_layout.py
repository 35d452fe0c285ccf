"""The header of a COG: GDAL's tags, GDAL's structural metadata, and where blocks lie."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from geodl_core.domain.grid import Grid
from geodl_core.errors import InputError
from geodl_core.io.cog.block_codec import BlockFormat, encode_block, nodata_block
from geodl_core.io.cog.cog_layout import CogSpec, blocks_shape, cog_header, framed_block, image_shapes
from geodl_core.io.cog.tiff_tags import TILE_OFFSETS, TILE_SIZES, Tag, read_tags

U1 = BlockFormat("uint8", 1, 255, "deflate")
NORTH_UP = (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0)
ROTATED = (7.0, 7.0, 600000.0, 7.0, -7.0, 5400000.0)
LOCAL = 'LOCAL_CS["a mine",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
SPECS = {
    "plain": CogSpec(Grid("EPSG:32632", NORTH_UP, 700, 600), U1),
    "rotated": CogSpec(Grid("EPSG:32632", ROTATED, 700, 600), U1),
    "geographic": CogSpec(Grid("EPSG:4326", (1e-4, 0.0, 7.0, 0.0, -1e-4, 50.0), 700, 600), U1),
    "local": CogSpec(Grid(LOCAL, NORTH_UP, 700, 600), U1),
    "colours": CogSpec(Grid("EPSG:3857", NORTH_UP, 700, 600), U1, {0: (1, 2, 3), 9: (4, 5, 6)}, ("class",)),
    "colours16": CogSpec(
        Grid("EPSG:3857", NORTH_UP, 700, 600), BlockFormat("uint16", 1, 65535, "lzw"), {700: (1, 2, 3)}
    ),
    "negative": CogSpec(Grid("EPSG:3857", NORTH_UP, 700, 600), BlockFormat("int16", 1, -9999, "zstd")),
    "scores": CogSpec(
        Grid("EPSG:32632", NORTH_UP, 700, 600),
        BlockFormat("float32", 3, float("nan"), "deflate", predictor=3),
        halve="mean",
        descriptions=("a", "b & <c>", "ü"),
    ),
    "bytes": CogSpec(Grid("EPSG:32632", NORTH_UP, 700, 600), BlockFormat("uint8", 4, 255, "deflate"), halve="mean"),
}


def content_of(spec: CogSpec) -> bytes:
    """Return a whole COG of nodata."""
    payload = encode_block(spec.format, nodata_block(spec.format))
    sizes = [np.full(blocks_shape(shape, 512), len(payload)) for shape in image_shapes(spec)]
    return cog_header(spec, sizes) + framed_block(payload) * sum(size.size for size in sizes)


def gdal_profile(spec: CogSpec) -> dict[str, Any]:
    return {
        "height": spec.grid.height,
        "width": spec.grid.width,
        "count": spec.format.samples,
        "dtype": spec.format.dtype,
        "crs": spec.grid.crs,
        "transform": spec.grid.affine,
        "nodata": spec.format.nodata,
    }


def gdal_cog(path: Path, spec: CogSpec, **options: Any) -> None:
    """Have GDAL's own driver write the same."""
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", photometric="MINISBLACK", **gdal_profile(spec)) as dataset:
            dataset.write(np.full((spec.format.samples, *spec.grid.shape), spec.format.nodata, spec.format.dtype))
            for index, name in enumerate(spec.descriptions, 1):
                dataset.set_band_description(index, name)
            if spec.colours:
                dataset.write_colormap(1, {value: (*colour, 255) for value, colour in spec.colours.items()})
        with memory.open() as dataset:
            copy(dataset, path, driver="COG", BLOCKSIZE=512, COMPRESS=spec.format.compression, **options)


def directories(content: bytes) -> list[dict[int, Tag]]:
    """Return the tags of all directories of a classic file."""
    found = []
    (at,) = struct.unpack_from("<I", content, 4)
    while at:
        found.append(read_tags(content[:4] + struct.pack("<I", at) + content[8:]))
        (count,) = struct.unpack_from("<H", content, at)
        (at,) = struct.unpack_from("<I", content, at + 2 + 12 * count)
    return found


@pytest.mark.parametrize("name", SPECS)
def test_gdal_writes_the_same_tags(tmp_path: Path, name: str) -> None:
    """Image and overviews have the tags GDAL's COG driver gives them, places of blocks and its own notes apart."""
    spec = SPECS[name]
    gdal_cog(
        tmp_path / "gdal.tif", spec, PREDICTOR={1: "NO", 2: "STANDARD", 3: "FLOATING_POINT"}[spec.format.predictor]
    )
    expected, found = directories((tmp_path / "gdal.tif").read_bytes()), directories(content_of(spec))
    assert len(expected) == len(found) == 2
    for theirs, ours in zip(expected, found, strict=True):
        # Note of how overviews were made (42112). GDAL takes four bytes for red, green, blue and alpha (262, 338).
        left_out = {TILE_OFFSETS, TILE_SIZES, 42112} | ({262, 338} if name == "bytes" else set())
        assert {code: tag_value(tag) for code, tag in ours.items() if code not in left_out} == {
            code: tag_value(tag) for code, tag in theirs.items() if code not in left_out
        }


def tag_value(tag: Tag) -> object:
    return tag.integers if tag.kind in (3, 4) else tag.content


@pytest.mark.parametrize("name", SPECS)
def test_gdal_reads_what_was_given(tmp_path: Path, name: str) -> None:
    """CRS, transform, nodata, colours, names and interleaving read back as from a GeoTIFF that GDAL wrote."""
    spec = SPECS[name]
    (tmp_path / "ours.tif").write_bytes(content_of(spec))
    gdal_cog(tmp_path / "gdal.tif", spec)
    with rasterio.open(tmp_path / "ours.tif") as ours, rasterio.open(tmp_path / "gdal.tif") as theirs:
        assert repr(ours.profile) == repr(theirs.profile)
        assert ours.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
        assert ours.tags() == theirs.tags() | {key: ours.tags()[key] for key in ours.tags() if key == "AREA_OR_POINT"}
        assert (ours.descriptions, ours.colorinterp) == (theirs.descriptions, theirs.colorinterp)
        assert (ours.transform, ours.overviews(1)) == (spec.grid.affine, [2])
        if spec.colours:
            assert ours.colormap(1) == theirs.colormap(1)


def test_structural_metadata(tmp_path: Path) -> None:
    """What stands behind the header is, to the byte, what GDAL's COG driver writes there."""
    spec = SPECS["plain"]
    gdal_cog(tmp_path / "gdal.tif", spec)
    theirs, ours = (tmp_path / "gdal.tif").read_bytes(), content_of(spec)
    end = theirs.index(b"KNOWN_INCOMPATIBLE_EDITION=NO\n ") + 31
    assert ours[8:end] == theirs[8:end]
    assert theirs[4:8] == ours[4:8]


def test_blocks_lie_from_coarse_to_fine_in_frames() -> None:
    """Each block lies where the tags say, behind its length and before its last bytes, the coarsest overview first."""
    spec = CogSpec(Grid("EPSG:32632", NORTH_UP, 1300, 700), U1)
    rng = np.random.default_rng(0)
    sizes = [rng.integers(4, 90, blocks_shape(shape, 512)) for shape in image_shapes(spec)]
    payloads = [[rng.bytes(size) for size in level.ravel()] for level in sizes]
    content = cog_header(spec, sizes) + b"".join(framed_block(one) for level in payloads[::-1] for one in level)
    end = len(cog_header(spec, sizes))
    assert [len(level) for level in payloads] == [6, 2, 1]
    for tags, level in reversed(list(zip(directories(content), payloads, strict=True))):
        for start, length, payload in zip(tags[TILE_OFFSETS].integers, tags[TILE_SIZES].integers, level, strict=True):
            assert start == end + 4
            assert content[start : start + length] == payload
            assert struct.unpack_from("<I", content, start - 4) == (length,)
            assert content[start + length :][:4] == payload[-4:]
            end = start + length + 4
    assert end == len(content)


@pytest.mark.parametrize(("beyond", "version"), [(0, 42), (1, 43)])
def test_bigtiff_only_where_needed(beyond: int, version: int) -> None:
    """A file of 2³² bytes is classic TIFF, one of a byte more is not."""
    spec = CogSpec(Grid("EPSG:32632", NORTH_UP, 512, 1024), U1)
    sizes = [np.full(blocks_shape(shape, 512), 1 << 30) for shape in image_shapes(spec)]
    spare = (1 << 32) - len(cog_header(spec, sizes)) - 3 * ((1 << 30) + 8)
    sizes[0][0, 1] += spare + beyond
    assert struct.unpack_from("<H", cog_header(spec, sizes), 2) == (version,)


@pytest.mark.parametrize(
    ("block", "halve", "descriptions"),
    [(U1, "mode", ("a", "b")), (BlockFormat("int16", 1, -1, "deflate"), "mean", ())],
)
def test_specs_that_are_none(block: BlockFormat, halve: Any, descriptions: tuple[str, ...]) -> None:
    """Names that are not one a sample, and means of types that have none, are refused."""
    with pytest.raises(ValueError, match=r"expected|no means"):
        CogSpec(SPECS["plain"].grid, block, {}, descriptions, halve)


def test_a_crs_gdal_does_not_know() -> None:
    """What GDAL cannot describe is an error of the input."""
    with pytest.raises(InputError, match="GDAL cannot describe"):
        content_of(CogSpec(Grid("EPSG:999999", NORTH_UP, 10, 10), U1))

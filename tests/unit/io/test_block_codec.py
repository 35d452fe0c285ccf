"""Compressed blocks: decoding returns what was encoded, in any thread the same bytes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geodl_core.errors import DataError, InputError
from geodl_core.io.cog import block_codec
from geodl_core.io.cog.block_codec import BlockFormat, decode_block, encode_block, nodata_block, profile

COMPRESSIONS = ("deflate", "zstd", "lzw")
U1 = BlockFormat("uint8", 1, 255, "deflate", 64)


def random(block: BlockFormat, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = (rng.random(block.shape) * 100).astype(block.dtype)
    values[:, :10] = block.nodata
    return values


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    ("dtype", "samples", "nodata", "predictor"),
    [
        ("uint8", 1, 255, 1),
        ("uint8", 4, 0, 2),
        ("uint16", 3, 65535, 1),
        ("int8", 1, -128, 1),
        ("int16", 1, -1, 2),
        ("uint32", 1, 2**32 - 1, 1),
        ("int32", 2, 2**31 - 1, 1),
        ("float32", 1, float("nan"), 1),
        ("float32", 3, float("nan"), 3),
    ],
)
def test_there_and_back(compression: str, dtype: str, samples: int, nodata: float, predictor: int) -> None:
    """Every type, number of samples and compression returns its pixels."""
    block = BlockFormat(dtype, samples, nodata, compression, 64, predictor)  # type: ignore[arg-type]
    for values in (random(block), nodata_block(block)):
        found = decode_block(block, encode_block(block, values))
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_threads(compression: str) -> None:
    """Threads that encode at once get the bytes that one gets alone."""
    block = BlockFormat("uint8", 1, 255, compression)  # type: ignore[arg-type]
    values = [random(block, seed) for seed in range(6)]
    alone = [encode_block(block, one) for one in values]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda one: encode_block(block, one), values * 3)) == alone * 3


def test_views() -> None:
    """Values that are a view of another array are encoded as their copy."""
    wide = np.random.default_rng(0).integers(0, 5, (1, 128, 128)).astype(np.uint8)
    view = wide[:, ::2, 64:]
    assert encode_block(U1, view) == encode_block(U1, view.copy())


@pytest.mark.parametrize("payload", [b"", b"abc", b"\0" * 1000, encode_block(U1, random(U1))[:-200]])
def test_damage(payload: bytes) -> None:
    """Bytes that are no block, or half of one, are an error of the data."""
    with pytest.raises(DataError, match="cannot be decoded"):
        decode_block(U1, payload)


def test_other_shapes_and_types() -> None:
    """Pixels of another shape or type are refused."""
    for values in (np.zeros((64, 64), np.uint8), np.zeros((1, 64, 64), np.int8), np.zeros((1, 64, 63), np.uint8)):
        with pytest.raises(ValueError, match=r"expected \(1, 64, 64\) uint8"):
            encode_block(U1, values)


@pytest.mark.parametrize(
    "changes",
    [
        {"compression": "jpeg"},
        {"samples": 0},
        {"block_px": 100},
        {"nodata": 256},
        {"nodata": -1},
        {"nodata": 1.5},
        {"nodata": float("nan")},
    ],
)
def test_formats_that_are_none(changes: dict) -> None:
    """A format TIFF does not have is refused."""
    fields = {"dtype": "uint8", "samples": 1, "nodata": 255, "compression": "deflate", **changes}
    with pytest.raises(ValueError, match="expected"):
        BlockFormat(**fields)


def test_a_codec_gdal_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where GDAL leaves the compression out, which is a warning to it, the user reads what to take instead."""
    monkeypatch.setattr(block_codec, "profile", lambda block: {**profile(block), "compress": "nonsense"})
    with pytest.raises(InputError, match=r"expected TIFF's code 8 from GDAL, found \[1\]") as caught:
        encode_block(U1, random(U1))
    assert "take deflate" in (caught.value.hint or "")


def test_what_gdal_refuses() -> None:
    """What GDAL refuses to write is an error of the input."""
    with pytest.raises(InputError, match="GDAL cannot write"):
        encode_block(BlockFormat("int8", 1, -1, "deflate", 64, 3), np.zeros((1, 64, 64), np.int8))

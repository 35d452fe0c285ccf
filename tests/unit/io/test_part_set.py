"""Parts together: blocks that several have pixels in are put together, and what does not fit is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.errors import DataError, StoreError
from geodl_core.io.cog.block_codec import BlockFormat, decode_block, encode_block, half_format, nodata_block
from geodl_core.io.cog.cog_write import halve
from geodl_core.io.parts.part_set import MOST_OPEN, PartSet
from geodl_core.io.parts.parts import PartHeader, is_part_whole, write_part

BYTES = BlockFormat("uint8", 1, 255, "deflate", 32)
SCORES = BlockFormat("float32", 2, float("nan"), "zstd", 32, 3)
RASTERS = {"classification": (BYTES, "mode"), "probabilities": (SCORES, "mean")}
Parts = list[tuple[Path, PartHeader]]


def values_of(block: BlockFormat, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    some = np.array([0, 1, 7, block.nodata]).astype(block.dtype)
    return rng.choice(some, block.shape)


def header_of(n: int, of: int) -> PartHeader:
    return PartHeader("ab" * 32, n, of, 5)


def write_parts(folder: Path, owners: Sequence[Sequence[int]], of: int) -> tuple[Parts, dict[str, list[np.ndarray]]]:
    """Write parts of two rasters whose n-th block is that of the shards given: final where it is one.

    Returns:
        The parts, and each raster's blocks (0, 0), (0, 1), ….
    """
    blocks = {name: [values_of(block, col) for col in range(len(owners))] for name, (block, _) in RASTERS.items()}
    parts = [(folder / f"{n}.part", header_of(n, of)) for n in range(of)]
    for n, (path, header) in enumerate(parts):
        with write_part(path, header) as part:
            part.counts[n % 3] = n + 1
            for name, (block, how) in RASTERS.items():
                for col, owning in enumerate(owners):
                    values = blocks[name][col]
                    if list(owning) == [n]:
                        half = encode_block(half_format(block), halve(values, block, how))
                        part.add_final(f"{name}/0_{col}", encode_block(block, values), half)
                    elif n in owning:
                        part.add_shared(f"{name}/0_{col}", fragment_of(values, block, n, owning))
    return parts, blocks


def fragment_of(values: np.ndarray, block: BlockFormat, n: int, owning: Sequence[int]) -> np.ndarray:
    """Return a shard's share of a block's columns, nodata elsewhere."""
    fragment = nodata_block(block)
    position = sorted(owning).index(n)
    fragment[..., position :: len(owning)] = values[..., position :: len(owning)]
    return fragment


def check(parts: Parts, blocks: dict[str, list[np.ndarray]], folder: Path) -> None:
    """Compare all that a set says with the blocks."""
    with PartSet(parts, folder) as found:
        for name, (block, how) in RASTERS.items():
            source = found.blocks(name, block, how)
            for col, values in enumerate(blocks[name]):
                payload = source.payload(0, col)
                assert payload == encode_block(block, values)
                if source.size(0, col) != len(payload):
                    raise DataError("the sizes differ")  # as the writer of COGs does
                np.testing.assert_array_equal(decode_block(block, payload), values)
                half = source.half(0, col)
                assert half.dtype == np.dtype(block.dtype)
                np.testing.assert_array_equal(half, halve(values, block, how))
            assert source.size(0, len(blocks[name])) is None
            assert source.size(1, 0) is None


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sets(st.integers(0, 4), min_size=1), min_size=1, max_size=4), st.permutations(range(5)))
def test_blocks_of_any_parts(
    tmp_path_factory: pytest.TempPathFactory, owners: list[set[int]], order: list[int]
) -> None:
    """Payloads and halves are those of the whole block, be it one shard's or several', in any order of the parts."""
    folder = tmp_path_factory.mktemp("parts")
    parts, blocks = write_parts(folder, [sorted(owning) for owning in owners], 5)
    check([parts[number] for number in order], blocks, folder)
    with PartSet(parts, folder) as found:
        assert found.counts == {0: 1 + 4, 1: 2 + 5, 2: 3}
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path, _ in parts)


def test_many_parts(tmp_path: Path) -> None:
    """More parts than are held open at a time are read all the same."""
    count = MOST_OPEN + 6
    owners = [[n] for n in range(count)] + [list(range(count))]
    parts, blocks = write_parts(tmp_path, owners, count)
    check(parts, blocks, tmp_path)
    with PartSet(parts, tmp_path) as found:
        assert len(found._readers) <= MOST_OPEN


def test_a_raster_without_blocks(tmp_path: Path) -> None:
    """A raster of nodata alone has no block."""
    parts, _ = write_parts(tmp_path, [], 2)
    with PartSet(parts, tmp_path) as found:
        assert found.blocks("classification", BYTES, "mode").size(0, 0) is None
        assert found.counts == {0: 1, 1: 2}


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    """A block that two parts have finished, or one has finished and another shares, is a DataError that names it."""
    one, _ = write_parts(tmp_path / "a", [[0]], 1)
    other, _ = write_parts(tmp_path / "b", [[0]], 1)
    with pytest.raises(DataError, match=r"0\.part: block 0, 0 is in another part too"):
        PartSet([*one, *other], tmp_path)
    shared, _ = write_parts(tmp_path / "c", [[0, 1]], 2)
    with (
        pytest.raises(DataError, match="do not fit together: block 0, 0"),
        PartSet([*one, *shared], tmp_path) as found,
    ):
        found.blocks("classification", BYTES, "mode")


def test_parts_that_are_missing_or_foreign(tmp_path: Path) -> None:
    """A part that is missing, truncated or of another shard or plan is a DataError that names it."""
    parts, _ = write_parts(tmp_path, [[0], [0, 1], [1]], 2)
    (first, header), (second, _) = parts
    for foreign in (replace(header, n=1), replace(header, recipe="other"), replace(header, job_id="cd")):
        with pytest.raises(DataError, match=r"0\.part"):
            PartSet([(first, foreign), parts[1]], tmp_path)
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"1\.part"):
        PartSet(parts, tmp_path)
    second.unlink()
    with pytest.raises(DataError, match=r"1\.part"):
        PartSet(parts, tmp_path)


def test_a_damaged_block(tmp_path: Path) -> None:
    """Damage within a block is a DataError where it is read, and leaves the other blocks."""
    parts, blocks = write_parts(tmp_path, [[0], [1]], 2)
    path = parts[1][0]
    content = path.read_bytes()
    at = content.index(encode_block(BYTES, blocks["classification"][1]))
    path.write_bytes(content[: at + 9] + bytes([content[at + 9] ^ 0xFF]) + content[at + 10 :])
    with PartSet(parts, tmp_path) as found:
        source = found.blocks("classification", BYTES, "mode")
        assert source.payload(0, 0) == encode_block(BYTES, blocks["classification"][0])
        with pytest.raises(DataError, match=r"1\.part"):
            source.payload(0, 1)


def test_any_flipped_byte(tmp_path: Path) -> None:
    """A flipped byte anywhere in a part that is taken for whole is a DataError, or changes nothing."""
    parts, blocks = write_parts(tmp_path, [[0], [0, 1]], 2)
    path = parts[0][0]
    content = path.read_bytes()
    odd: list[str] = []
    # Members have checksums; the directory at the end has none.
    for position in (*range(0, len(content) - 1500, 7), *range(len(content) - 1500, len(content))):
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        if not is_part_whole(*parts[0]):
            continue
        try:
            check(parts, blocks, tmp_path)
        except DataError:
            pass
        except Exception as error:  # noqa: BLE001  # every other exception is what is looked for
            odd.append(f"{position}: {type(error).__name__}: {str(error)[:80]}")
    assert odd == []


@pytest.mark.parametrize("name", ["strange", "classification/a_b.block", "classification/0_0.bloc", "classification/0"])
def test_members_of_another_kind(tmp_path: Path, name: str) -> None:
    """What a part holds is understood or a DataError that names the part, never passed over."""
    path = tmp_path / "0.part"
    with write_part(path, header_of(0, 1)) as part:
        part._write(name, b"1")
    with pytest.raises(DataError, match=r"0\.part"), PartSet([(path, header_of(0, 1))], tmp_path):
        pass


def test_fragments_of_another_shape(tmp_path: Path) -> None:
    """A fragment that is no block of the raster is a DataError."""
    path = tmp_path / "0.part"
    for values in (np.zeros((1, 16, 16), np.uint8), np.zeros((1, 32, 32), np.uint16)):
        with write_part(path, header_of(0, 1)) as part:
            part.add_shared("classification/0_0", values)
        with pytest.raises(DataError), PartSet([(path, header_of(0, 1))], tmp_path) as found:
            found.blocks("classification", BYTES, "mode")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Without a place for what is put together the error is transient."""
    parts, _ = write_parts(tmp_path, [[0]], 1)
    with pytest.raises(StoreError):
        PartSet(parts, tmp_path / "none")

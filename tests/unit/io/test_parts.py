"""Parts: what is written is read, and damage is seen."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.errors import DataError, StoreError
from geodl_core.io.parts import HEADER, is_part_whole, read_part, write_part

TILES = np.array([3, 4, 9])
JOB = "ab" * 32


def arrays_of(seed: int = 0, dtype: str = "uint8") -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 5, rng.integers(1, 9, 2)).astype(dtype) for _ in TILES]


def write(path: Path, arrays: list[np.ndarray], job: str = JOB, tiles: np.ndarray = TILES) -> Path:
    with write_part(path, job, (int(tiles[0]), int(tiles[-1]))) as part:
        for tile, array in zip(tiles, arrays, strict=True):
            part.add(int(tile), array)
    return path


def is_as_written(path: Path, arrays: list[np.ndarray]) -> bool:
    found = list(read_part(path))
    return [tile for tile, _ in found] == TILES.tolist() and all(
        array.dtype == expected.dtype and np.array_equal(array, expected)
        for (_, array), expected in zip(found, arrays, strict=True)
    )


@given(st.integers(0, 1 << 30), st.sampled_from(["uint8", "uint16", "uint32", "int8", "int16", "int32"]))
def test_writing_then_reading_returns(tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: str) -> None:
    """A part read back holds the tiles in order with their arrays, and is whole."""
    arrays = arrays_of(seed, dtype)
    path = write(tmp_path_factory.mktemp("part") / "0.part", arrays)
    assert is_part_whole(path, JOB, TILES)
    assert is_as_written(path, arrays)


def test_same_tiles_same_bytes(tmp_path: Path) -> None:
    """The same tiles give the same bytes, however the arrays lie in memory."""
    first = write(tmp_path / "a.part", arrays_of())
    strided = [np.repeat(np.repeat(array, 2, 0), 2, 1)[::2, ::2] for array in arrays_of()]
    second = write(tmp_path / "b.part", strided)
    assert first.read_bytes() == second.read_bytes()


def test_parts_of_another_job(tmp_path: Path) -> None:
    """A part of another job, of other tiles, or none at all is not whole."""
    path = write(tmp_path / "a.part", arrays_of())
    assert not is_part_whole(path, "cd" * 32, TILES)
    assert not is_part_whole(path, JOB, TILES[:2])
    assert not is_part_whole(path, JOB, TILES[::-1])
    assert not is_part_whole(tmp_path / "none.part", JOB, TILES)
    assert not is_part_whole(tmp_path, JOB, TILES)


@pytest.mark.parametrize(
    "header",
    [
        *(pytest.param(text) for text in ("[]", "1", "null")),
        "{}",
        "{",
        '{"format": "geodl-part-2"}',
    ],
)
def test_parts_with_another_header(tmp_path: Path, header: str) -> None:
    """A part whose header is something else is not whole."""
    path = tmp_path / "a.part"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(HEADER, header)
    assert not is_part_whole(path, JOB, np.array([], np.int64))


def test_an_error_leaves_no_part(tmp_path: Path) -> None:
    """A part that is not finished is not there."""
    with pytest.raises(RuntimeError), write_part(tmp_path / "a.part", JOB, (3, 9)) as part:
        part.add(3, arrays_of()[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError), write_part(tmp_path / "file" / "a.part", JOB, (3, 9)):
        pass


def is_seen_or_harmless(path: Path, arrays: list[np.ndarray]) -> bool:
    """Say whether damage is noticed without any other exception, or changes nothing."""
    is_whole = is_part_whole(path, JOB, TILES)
    try:
        return is_as_written(path, arrays) or not is_whole
    except DataError:
        return not is_whole


def test_truncated_parts(tmp_path: Path) -> None:
    """A part that ends early is not whole, and reading it is a DataError that names it."""
    arrays = arrays_of()
    content = write(tmp_path / "a.part", arrays).read_bytes()
    cut = tmp_path / "cut.part"
    for length in range(0, len(content), 7):
        cut.write_bytes(content[:length])
        assert not is_part_whole(cut, JOB, TILES), length
        with pytest.raises(DataError, match=r"cut\.part"):
            list(read_part(cut))


def test_parts_with_a_flipped_byte(tmp_path: Path) -> None:
    """A flipped byte is seen before a part is taken for whole, or changes nothing that is read."""
    arrays = arrays_of()
    content = write(tmp_path / "a.part", arrays).read_bytes()
    flipped = tmp_path / "flipped.part"
    odd: list[str] = []
    for position in range(len(content)):
        for mask in (0xFF, 0x01):
            damaged = bytearray(content)
            damaged[position] ^= mask
            flipped.write_bytes(damaged)
            try:
                if not is_seen_or_harmless(flipped, arrays):
                    odd.append(f"{position} ^ {mask:#x}: not seen")
            except Exception as error:  # noqa: BLE001  # every other exception is what is looked for
                odd.append(f"{position} ^ {mask:#x}: {type(error).__name__}: {error}")
    assert odd == []


def test_header_of_a_part(tmp_path: Path) -> None:
    """The header names format, job and tiles, and no time or path."""
    path = write(tmp_path / "a.part", arrays_of())
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read(HEADER))
        times = {member.date_time for member in archive.infolist()}
    assert header == {"format": "geodl-part-1", "job": JOB, "first": 3, "last": 9}
    assert times == {(1980, 1, 1, 0, 0, 0)}

"""Parts: what is written is read, and damage is seen."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.errors import DataError, StoreError
from geodl_core.io.parts.parts import COUNTS, HEADER, PartHeader, PartReader, is_part_whole, write_part

PART = PartHeader("ab" * 32, 2, 7, 11, "recipe")
COUNTED = {7: 3, 1: 12, -5: 1}
FULL_DISK = """
import resource, sys
sys.path[:0] = sys.argv[1:2]
import test_parts as tests
from pathlib import Path
from geodl_core.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    tests.write(Path(sys.argv[2]), tests.content_of(0, size=300))
except StoreError as error:
    sys.exit(error.exit_code)
"""

Content = tuple[dict[str, tuple[bytes, bytes]], dict[str, np.ndarray]]
"""Final blocks with their halves, and shared ones."""


def content_of(seed: int = 0, dtype: str = "uint8", size: int = 5, count: int = 2) -> Content:
    rng = np.random.default_rng(seed)
    finals = {f"classification/{row}_4": (rng.bytes(9 * size), rng.bytes(3 * size)) for row in range(count)}
    shared = {f"probabilities/{row}_12": rng.integers(0, 5, (2, size, size)).astype(dtype) for row in range(count)}
    return finals, shared


def write(path: Path, content: Content, header: PartHeader = PART) -> Path:
    with write_part(path, header) as part:
        for name, (payload, half) in content[0].items():
            part.add_final(name, payload, half)
        for name, values in content[1].items():
            part.add_shared(name, values)
        part.counts.update(COUNTED)
    return path


def read(path: Path, header: PartHeader | None = PART) -> tuple[Content, dict[int, int]]:
    """Read all of a part."""
    reader = PartReader(path, header)
    try:
        finals: dict[str, tuple[bytes, bytes]] = {}
        shared: dict[str, np.ndarray] = {}
        for name in reader.names():
            stem, _, ending = name.partition(".")
            if ending == "block":
                finals[stem] = reader.read(name), reader.read(f"{stem}.half")
            elif ending == "raw.npy":
                shared[stem] = reader.read_array(name)
        return (finals, shared), reader.counts()
    finally:
        reader.close()


def is_as_written(found: tuple[Content, dict[int, int]], content: Content) -> bool:
    (finals, shared), counts = found
    return (
        finals == content[0]
        and counts == COUNTED
        and list(shared) == list(content[1])
        and all(
            array.dtype == shared[name].dtype and np.array_equal(array, shared[name])
            for name, array in content[1].items()
        )
    )


@given(st.integers(0, 1 << 30), st.sampled_from(["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32"]))
def test_writing_then_reading_returns(tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: str) -> None:
    """A part read back holds the blocks in order with all that they have, and is whole."""
    content = content_of(seed, dtype)
    path = write(tmp_path_factory.mktemp("part") / "0.part", content)
    assert is_part_whole(path, PART)
    assert is_as_written(read(path), content)
    assert is_as_written(read(path, None), content)
    reader = PartReader(path)
    assert all(reader.size(f"{name}.block") == len(payload) for name, (payload, _) in content[0].items())
    reader.close()


def test_same_blocks_same_bytes(tmp_path: Path) -> None:
    """The same blocks give the same bytes, however arrays lie in memory and in what order classes were counted."""
    finals, shared = content_of()
    first = write(tmp_path / "a.part", (finals, shared))
    strided = {name: np.repeat(np.repeat(array, 2, 1), 2, 2)[:, ::2, ::2] for name, array in shared.items()}
    with write_part(tmp_path / "b.part", PART) as part:
        part.counts.update(reversed(COUNTED.items()))
        for name, pair in finals.items():
            part.add_final(name, *pair)
        for name, values in strided.items():
            part.add_shared(name, values)
    assert first.read_bytes() == (tmp_path / "b.part").read_bytes()


def test_a_part_without_blocks(tmp_path: Path) -> None:
    """A shard of nodata alone has a part without blocks."""
    with write_part(tmp_path / "a.part", PART):
        pass
    assert is_part_whole(tmp_path / "a.part", PART)
    reader = PartReader(tmp_path / "a.part", PART)
    assert (reader.names(), reader.counts()) == ([], {})
    reader.close()


OTHERS = [
    replace(PART, job_id="cd" * 32),
    replace(PART, n=3),
    replace(PART, of=8),
    replace(PART, tiles=10),
    replace(PART, recipe="other"),
    replace(PART, format="geodl-part-1"),
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_part(tmp_path: Path, other: PartHeader) -> None:
    """A part of another job, shard, plan or version is not whole, and reading it is a DataError that names it."""
    path = write(tmp_path / "a.part", content_of())
    assert not is_part_whole(path, other)
    with pytest.raises(DataError, match=r"a\.part"):
        PartReader(path, other)


def test_no_part(tmp_path: Path) -> None:
    """What is not there, or is a folder, is not whole, and reading it is a DataError."""
    for path in (tmp_path / "none.part", tmp_path):
        assert not is_part_whole(path, PART)
        with pytest.raises(DataError, match="expected a whole part"):
            PartReader(path, PART)


@pytest.mark.parametrize("header", ["[]", "1", "null", "{}", "{", '{"format": "geodl-part-2"}', '"\\ud800"'])
def test_parts_with_another_header(tmp_path: Path, header: str) -> None:
    """A part whose header is something else is not whole."""
    path = tmp_path / "a.part"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(HEADER, header)
        archive.writestr(COUNTS, "{}")
    assert not is_part_whole(path, PART)
    with pytest.raises(DataError):
        PartReader(path, PART)


@pytest.mark.parametrize("counts", ["[]", "1", "null", "{", '{"a": 1}', '{"1": null}', '{"1": {}}', "[1, 2]"])
def test_parts_with_other_counts(tmp_path: Path, counts: str) -> None:
    """Counts that are something else are a DataError."""
    path = tmp_path / "a.part"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(HEADER, "{}")
        archive.writestr(COUNTS, counts)
    reader = PartReader(path)
    with pytest.raises(DataError, match=r"a\.part"):
        reader.counts()
    reader.close()


def test_an_error_leaves_no_part(tmp_path: Path) -> None:
    """A part that is not finished is not there."""
    with pytest.raises(RuntimeError), write_part(tmp_path / "a.part", PART) as part:
        part.add_final("classification/0_0", b"1", b"2")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError), write_part(tmp_path / "file" / "a.part", PART):
        pass


@pytest.mark.parametrize("limit", [0, 1000, 5000, 30_000])
def test_a_full_disk(tmp_path: Path, limit: int) -> None:
    """Where the part does not fit the error is transient and nothing is left."""
    command = [sys.executable, "-c", FULL_DISK, str(Path(__file__).parent), str(tmp_path / "a.part"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_truncated_parts(tmp_path: Path) -> None:
    """A part that ends early, wherever, is not whole, and reading it is a DataError that names it."""
    content = write(tmp_path / "a.part", content_of()).read_bytes()
    cut = tmp_path / "cut.part"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        assert not is_part_whole(cut, PART), length
        with pytest.raises(DataError, match=r"cut\.part"):
            PartReader(cut, PART)


def test_parts_with_a_flipped_byte(tmp_path: Path) -> None:
    """A flipped byte is seen before a part is taken for whole, or changes nothing; reading raises DataErrors alone."""
    content = content_of(size=2, count=1)
    whole = write(tmp_path / "a.part", content).read_bytes()
    flipped = tmp_path / "flipped.part"
    odd: list[str] = []
    # 0x06 and 0x0E turn deflated and stored members into LZMA's.
    for position, mask in product(range(len(whole)), (0xFF, 0x01, 0x06, 0x0E)):
        damaged = bytearray(whole)
        damaged[position] ^= mask
        flipped.write_bytes(damaged)
        try:
            is_whole = is_part_whole(flipped, PART)
            if not is_as_written(read(flipped), content) and is_whole:
                odd.append(f"{position} ^ {mask:#x}: not seen")
        except DataError:
            if is_whole:
                odd.append(f"{position} ^ {mask:#x}: not seen until it is read")
        except Exception as error:  # noqa: BLE001  # every other exception is what is looked for
            odd.append(f"{position} ^ {mask:#x}: {type(error).__name__}: {error}")
    assert odd == []


def test_header_of_a_part(tmp_path: Path) -> None:
    """The header names format, job, shard and recipe, and nothing the time or a path; blocks are stored as they are."""
    path = write(tmp_path / "a.part", content_of())
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read(HEADER))
        times = {member.date_time for member in archive.infolist()}
        stored = {member.filename: member.compress_type for member in archive.infolist()}
        counts = archive.read(COUNTS)
    expected = {"format": "geodl-part-2", "job_id": "ab" * 32, "n": 2, "of": 7, "tiles": 11, "recipe": "recipe"}
    assert header == expected
    assert times == {(1980, 1, 1, 0, 0, 0)}
    assert counts == b'{"-5": 1, "1": 12, "7": 3}'
    assert stored["classification/0_4.block"] == zipfile.ZIP_STORED
    assert stored["probabilities/0_12.raw.npy"] == zipfile.ZIP_DEFLATED

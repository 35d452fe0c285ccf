"""Detections in parts come back as they were, and what is damaged is said so."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.detections import Detections, no_detections, take
from geodl_core.errors import DataError
from geodl_core.io.parts.found import ROW_BYTES, add_detections, read_detections
from geodl_core.io.parts.parts import PartHeader, PartReader, is_part_whole, write_part

HEADER = PartHeader("job", 0, 1, 4)


def some(count: int, is_outlined: bool) -> Detections:
    random = np.random.default_rng(count)
    corners = random.uniform(-10, 40_000, (count, 2))
    boxes = np.hstack([corners, corners + random.uniform(1, 50, (count, 2))]).astype(np.float32)
    shapes = shapely.union(shapely.box(*boxes.T), shapely.box(*(boxes + 200).T)) if is_outlined else None
    return Detections(
        boxes,
        random.random(count, np.float32),
        random.integers(-5, 1 << 30, count).astype(np.int32),
        random.integers(0, 1 << 30, count).astype(np.int32),
        random.integers(0, 16, count).astype(np.uint8),
        shapes,
    )


def part_of(folder: Path, **groups: Detections) -> Path:
    path = folder / "0.part"
    with write_part(path, HEADER) as part:
        for name, detections in groups.items():
            add_detections(part, name, detections)
    return path


def read(path: Path, name: str) -> Detections:
    part = PartReader(path, HEADER)
    try:
        return read_detections(part, name)
    finally:
        part.close()


@pytest.mark.parametrize("is_outlined", [False, True])
def test_groups_come_back(tmp_path: Path, is_outlined: bool) -> None:
    """Every column of every group is what was written, bit for bit, outlines too; a group may be empty."""
    written = {"settled": some(1000, is_outlined), "open": take(some(7, is_outlined), slice(None, None, -2))}
    path = part_of(tmp_path, **written, none=no_detections())
    for name, expected in written.items():
        found = read(path, name)
        for column in ("boxes", "scores", "class_ids", "tiles", "cuts"):
            np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), strict=True)
        assert (found.outlines is not None) == is_outlined
        assert not is_outlined or shapely.equals_identical(found.outlines, expected.outlines).all()
    assert len(read(path, "none")) == 0


def test_a_group_that_is_not_there(tmp_path: Path) -> None:
    """A part without the group is damaged."""
    with pytest.raises(DataError, match="expected a whole part"):
        read(part_of(tmp_path, settled=some(3, False)), "open")


@pytest.mark.parametrize(
    ("member", "keep", "words"),
    [
        ("settled/outlined_rows", ROW_BYTES - 1, "expected rows of 29 bytes"),
        ("settled/outlined_rows", ROW_BYTES, "outline for each row"),
    ],
)
def test_rows_cut_short(tmp_path: Path, member: str, keep: int, words: str) -> None:
    """Rows that are no whole number, or fewer than outlines, are refused."""
    path = part_of(tmp_path, settled=some(3, True))
    other = tmp_path / "cut.part"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(other, "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, whole.read(name)[: keep if name == member else None])
    with pytest.raises(DataError, match=words):
        read(other, "settled")


def rewritten(path: Path, changed: dict[str, np.ndarray | None]) -> Path:
    """Write a part anew, some of its arrays others, or None for none."""
    part = PartReader(path, HEADER)
    other = path.with_name("other.part")
    with write_part(other, HEADER) as target:
        for name in part.names():
            array = changed.get(name, np.zeros(0))
            if not name.endswith(".npy"):
                target.add_bytes(name, part.read(name))
            elif array is not None:
                target.add_array(name.removesuffix(".npy"), array if name in changed else part.read_array(name))
    part.close()
    return other


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("outlines", np.frombuffer(b"no outlines of any kind, or of any length", np.uint8)),
        ("outlines", None),
        ("outline_ends", np.asarray([93, 186])),
        ("outline_ends", np.asarray([5, 9, 11])),
    ],
)
def test_outlines_that_are_none(tmp_path: Path, name: str, array: np.ndarray | None) -> None:
    """Bytes that are no outlines, missing ones, and ends that are not theirs are damage."""
    path = part_of(tmp_path, settled=some(3, True))
    with pytest.raises(DataError):
        read(rewritten(path, {f"settled/{name}.npy": array}), "settled")


def test_the_same_bytes(tmp_path: Path) -> None:
    """The same detections give the same part, which is whole."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (part_of(tmp_path / name, settled=some(20, True), open=no_detections()) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert is_part_whole(first, HEADER)


@given(st.data())
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A byte that changed is seen before or while a part is read, or changed nothing that counts."""
    expected = some(12, True)
    path = part_of(tmp_path_factory.getbasetemp(), settled=expected)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        found = read(path, "settled")
    except DataError:
        return
    for column in ("boxes", "scores", "class_ids", "tiles", "cuts"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), strict=True)
    assert found.outlines is not None
    assert shapely.equals_identical(found.outlines, expected.outlines).all()

"""Parts: one file a shard, with its blocks of every raster of the result; a zip of stored members.

`part.json` says of which job and which tiles. A block that no other shard has pixels in is there as it will lie in the
result (`.block`) and at half its size for the overviews (`.half`); one that several shards share is there raw
(`.raw.npy`, nodata where others have pixels), to be encoded when they meet. Blocks of nodata alone are left out.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from geodl_core.errors import DataError
from geodl_core.io.store import atomic_file

FORMAT = "geodl-part-2"
HEADER = "part.json"
COUNTS = "counts.json"
DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile, zlib, NumPy and the header raise on bytes that are not what was written."""
# Zip wants a time for each member; the same job must give the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class PartHeader:
    """Which part it is."""

    job_id: str
    n: int
    of: int
    tiles: int
    """How many tiles it has."""
    recipe: str = ""
    """Hash of what else its bytes depend on: the plan and the state of its input."""
    format: str = FORMAT


@dataclass(slots=True)
class PartWriter:
    """Takes the blocks of a shard one after the other."""

    archive: zipfile.ZipFile
    counts: dict[int, int] = field(default_factory=dict)
    """Pixels of each class id in the shard's tiles, to be filled."""

    def add_final(self, name: str, payload: bytes, half: bytes) -> None:
        """Add an encoded block, and it at half its size, encoded too."""
        self._write(f"{name}.block", payload)
        self._write(f"{name}.half", half)

    def add_shared(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add the (samples, h, w) pixels of a block that other shards have pixels in too."""
        self._write_array(f"{name}.raw.npy", values)

    def add_array(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add an array."""
        self._write_array(f"{name}.npy", values)

    def add_bytes(self, name: str, content: bytes) -> None:
        """Add bytes as they are."""
        self._write(name, content)

    def _write(self, name: str, content: bytes) -> None:
        self.archive.writestr(zipfile.ZipInfo(name, NO_TIME), content)

    def _write_array(self, name: str, values: npt.NDArray[Any]) -> None:
        entry = zipfile.ZipInfo(name, NO_TIME)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with self.archive.open(entry, "w") as file:
            np.lib.format.write_array(cast("BinaryIO", file), values, allow_pickle=False)


@contextmanager
def write_part(path: Path, header: PartHeader) -> Iterator[PartWriter]:
    """Write a part atomically.

    Raises:
        StoreError: it cannot be written.
    """
    with atomic_file(path) as draft, zipfile.ZipFile(draft, "w", compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo(HEADER, NO_TIME), json.dumps(asdict(header)))
        writer = PartWriter(archive)
        yield writer
        counts = {str(value): writer.counts[value] for value in sorted(writer.counts)}
        archive.writestr(zipfile.ZipInfo(COUNTS, NO_TIME), json.dumps(counts))


def is_part_whole(path: Path, header: PartHeader) -> bool:
    """Say whether a part exists, is that part, and all its checksums are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = json.loads(archive.read(HEADER))
            is_sized = all(
                entry.compress_type != zipfile.ZIP_STORED or entry.file_size == entry.compress_size
                for entry in archive.infolist()
            )
            return found == asdict(header) and COUNTS in archive.namelist() and is_sized and archive.testzip() is None
    except DAMAGE:
        return False


class PartReader:
    """Reads a part. A context manager, since it holds a file open.

    Raises:
        DataError: it is missing, truncated, damaged, or another part.
    """

    def __init__(self, path: Path, header: PartHeader | None = None) -> None:
        self._path = path
        with self._reading():
            self._archive = zipfile.ZipFile(path)
        try:
            with self._reading():
                found = json.loads(self._archive.read(HEADER))
                if header is not None and found != asdict(header):
                    raise ValueError(f"it says that it is {found}")
        except DataError:
            self._archive.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def names(self) -> list[str]:
        """Return the names of all blocks, with their endings."""
        return [name for name in self._archive.namelist() if name not in (HEADER, COUNTS)]

    def counts(self) -> dict[int, int]:
        """Return how many pixels each class id has in the part's tiles."""
        with self._reading():
            return {int(value): int(count) for value, count in json.loads(self._archive.read(COUNTS)).items()}

    def size(self, name: str) -> int:
        """Return the bytes of a member."""
        return self._archive.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        """Return a member's bytes, checked."""
        with self._reading():
            return self._archive.read(name)

    def read_array(self, name: str) -> npt.NDArray[Any]:
        """Return a member that is an array."""
        with self._reading(), self._archive.open(name) as file:
            array: npt.NDArray[Any] = np.lib.format.read_array(cast("BinaryIO", file), allow_pickle=False)
            return array

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise DataError(f"{self._path}: expected a whole part of a job, found a damaged file ({error})") from error

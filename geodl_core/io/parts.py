"""Parts: one file a shard, with the class ids of its tiles; a zip of NumPy arrays."""

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from geodl_core.errors import DataError
from geodl_core.io.store import atomic_file

FORMAT = "geodl-part-1"
HEADER = "part.json"
# Zip wants a time for each member; the same job must give the same bytes.
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
NO_TIME = (1980, 1, 1, 0, 0, 0)


class PartWriter:
    """Takes the class ids of tiles one after the other."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, tile: int, class_ids: npt.NDArray[Any]) -> None:
        """Append a tile's core, (h, w)."""
        entry = zipfile.ZipInfo(f"{tile}.npy", NO_TIME)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with self._archive.open(entry, "w", force_zip64=class_ids.nbytes > 1 << 30) as file:
            np.lib.format.write_array(cast("BinaryIO", file), class_ids, allow_pickle=False)


@contextmanager
def write_part(path: Path, job_id: str, tiles: tuple[int, int]) -> Iterator[PartWriter]:
    """Write a part atomically.

    Args:
        path: of the finished part.
        job_id: the job it belongs to.
        tiles: index of the first tile and of the last.

    Raises:
        StoreError: it cannot be written.
    """
    with atomic_file(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        header = {"format": FORMAT, "job": job_id, "first": tiles[0], "last": tiles[1]}
        archive.writestr(zipfile.ZipInfo(HEADER, NO_TIME), json.dumps(header))
        yield PartWriter(archive)


def is_part_whole(path: Path, job_id: str, tiles: npt.NDArray[np.int64]) -> bool:
    """Say whether a part exists, belongs to the job, holds just these tiles and all its checksums are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(HEADER))
            names = [name for name in archive.namelist() if name != HEADER]
            return (
                header.get("format") == FORMAT
                and header.get("job") == job_id
                and names == [f"{tile}.npy" for tile in tiles]
                and archive.testzip() is None
            )
    except DAMAGE:
        return False


def read_part(path: Path) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield (tile index, (h, w) class ids) in the order written.

    Raises:
        DataError: the part is missing, truncated or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name != HEADER:
                    with archive.open(name) as file:
                        array = np.lib.format.read_array(cast("BinaryIO", file), allow_pickle=False)
                    yield int(name.removesuffix(".npy")), array
    except DAMAGE as error:
        raise DataError(f"{path}: expected a whole part of a job, found a damaged file ({error})") from error

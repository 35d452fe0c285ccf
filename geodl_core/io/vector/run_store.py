"""Runs of a map put aside on disk, strip by strip, so that a raster is read once and needs no memory."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geodl_core.domain.regions.runs import Runs
from geodl_core.io.store import storage_errors


class RunStore:
    """Strips of runs in a nameless file, which goes when it is closed or the process ends.

    Args:
        folder: on whose disk the file lies; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed with this
        self.folder = folder
        self._strips: list[tuple[int, tuple[int, int]]] = []

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, runs: Runs) -> None:
        """Put a strip at the end."""
        self._strips.append((len(runs.starts), runs.shape))
        with storage_errors(self.folder):
            self._file.write(runs.starts.tobytes())
            self._file.write(runs.values.tobytes())

    def strips(self) -> Iterator[Runs]:
        """Yield the strips in order."""
        self._file.seek(0)
        for count, shape in self._strips:
            starts, values = (np.frombuffer(self._file.read(8 * count), np.int64) for _ in range(2))
            yield Runs(starts, values, shape)

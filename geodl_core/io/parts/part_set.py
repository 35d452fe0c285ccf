"""The parts of a scene together: every block of every raster, shared ones put together and encoded."""

import re
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from geodl_core.errors import DataError
from geodl_core.io.cog.block_codec import BlockFormat, decode_block, encode_block, half_format
from geodl_core.io.cog.cog_write import halve
from geodl_core.io.parts.parts import PartHeader, PartReader
from geodl_core.io.store import storage_errors

MOST_OPEN = 64
"""Files held open at a time."""
BLOCK, HALF, RAW = ".block", ".half", ".raw.npy"
MEMBER = re.compile(r"(\w+)/(\d+)_(\d+)(\.block|\.half|\.raw\.npy)")


@dataclass(slots=True)
class Blocks:
    """Where the blocks of one raster lie; a `BlockSource` of `io.cog.cog_write`."""

    parts: "PartSet"
    name: str
    final: dict[tuple[int, int], int] = field(default_factory=dict)
    """(row, column) → number of the part that has it encoded."""
    shared: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    """(row, column) → numbers of the parts that have pixels in it."""
    joined: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """(row, column) of a shared block that was encoded → its place and size in the spool; its half follows."""

    def size(self, row: int, col: int) -> int | None:
        """Return the bytes of a block's payload, None where it is all nodata."""
        if (row, col) in self.final:
            return self.parts.reader(self.final[row, col]).size(f"{self.name}/{row}_{col}{BLOCK}")
        return self.joined[row, col][1] if (row, col) in self.joined else None

    def payload(self, row: int, col: int) -> bytes:
        """Return a block as it lies in the file."""
        if (row, col) in self.final:
            return self.parts.reader(self.final[row, col]).read(f"{self.name}/{row}_{col}{BLOCK}")
        return self.parts.spooled(*self.joined[row, col])

    def half(self, row: int, col: int) -> npt.NDArray[Any]:
        """Return a block at half its size, (samples, h/2, w/2)."""
        if (row, col) in self.final:
            payload = self.parts.reader(self.final[row, col]).read(f"{self.name}/{row}_{col}{HALF}")
            return decode_block(half_format(self.parts.stored(self.name)), payload)
        return self.parts.spooled_half(self, row, col)


class PartSet:
    """All parts of a scene. A context manager, since it holds files open.

    Args:
        parts: path and header of each.
        folder: for what is put together meanwhile.

    Raises:
        DataError: a part is missing, damaged or another one, or a block is in two of them.
    """

    def __init__(self, parts: Sequence[tuple[Path, PartHeader]], folder: Path) -> None:
        self._parts = parts
        self._readers: OrderedDict[int, PartReader] = OrderedDict()
        self._rasters: dict[str, Blocks] = {}
        self._formats: dict[str, tuple[BlockFormat, str]] = {}
        with storage_errors(folder):
            self._spool: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed with the set
        self.counts: dict[int, int] = {}
        """Pixels of each class id."""
        try:
            for number in range(len(parts)):
                self._index(number)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for reader in self._readers.values():
            reader.close()
        self._spool.close()

    def blocks(self, name: str, block: BlockFormat, halve_by: str) -> Blocks:
        """Return the blocks of a raster; those that several parts share are put together and encoded first.

        Raises:
            StoreError: the disk is full.
        """
        blocks = self._rasters.setdefault(name, Blocks(self, name))
        self._formats[name] = (block, halve_by)
        for (row, col), numbers in sorted(blocks.shared.items()):
            values = self._joined(blocks, (row, col), numbers)
            payload = encode_block(block, values)
            with storage_errors(self._parts[0][0].parent):
                place = self._spool.seek(0, 2)
                self._spool.write(payload)
                self._spool.write(np.ascontiguousarray(halve(values, block, halve_by)).tobytes())
            blocks.joined[row, col] = (place, len(payload))
        return blocks

    def reader(self, number: int) -> PartReader:
        """Return an open part; the one used longest ago is closed where too many are."""
        if number not in self._readers:
            self._readers[number] = PartReader(*self._parts[number])
            if len(self._readers) > MOST_OPEN:
                _, oldest = self._readers.popitem(last=False)
                oldest.close()
        self._readers.move_to_end(number)
        return self._readers[number]

    def stored(self, name: str) -> BlockFormat:
        """Return how blocks of a raster are stored."""
        return self._formats[name][0]

    def spooled(self, place: int, size: int) -> bytes:
        """Return bytes put together before."""
        self._spool.seek(place)
        return self._spool.read(size)

    def spooled_half(self, blocks: Blocks, row: int, col: int) -> npt.NDArray[Any]:
        """Return the half of a block that was put together."""
        block, _ = self._formats[blocks.name]
        place, size = blocks.joined[row, col]
        shape = (block.samples, block.block_px // 2, block.block_px // 2)
        content = self.spooled(place + size, int(np.prod(shape)) * np.dtype(block.dtype).itemsize)
        return np.frombuffer(content, block.dtype).reshape(shape)

    def _index(self, number: int) -> None:
        reader = self.reader(number)
        for value, count in reader.counts().items():
            self.counts[value] = self.counts.get(value, 0) + count
        for member in reader.names():
            found = MEMBER.fullmatch(member)
            if found is None:
                raise DataError(f"{self._parts[number][0]}: expected blocks of rasters, found {member!r}")
            blocks = self._rasters.setdefault(found[1], Blocks(self, found[1]))
            row, col = int(found[2]), int(found[3])
            if found[4] == BLOCK:
                if (row, col) in blocks.final:
                    raise DataError(f"{self._parts[number][0]}: block {row}, {col} is in another part too")
                blocks.final[row, col] = number
            elif found[4] == RAW:
                blocks.shared.setdefault((row, col), []).append(number)

    def _joined(self, blocks: Blocks, at: tuple[int, int], numbers: Sequence[int]) -> npt.NDArray[Any]:
        """Put together what several parts have of a block: nodata where none has pixels."""
        row, col = at
        block, _ = self._formats[blocks.name]
        joined: npt.NDArray[Any] | None = None
        for number in numbers:
            values = self.reader(number).read_array(f"{blocks.name}/{row}_{col}{RAW}")
            if values.shape != block.shape or values.dtype != block.dtype:
                found = f"{values.shape} {values.dtype}"
                raise DataError(f"{self._parts[number][0]}: block {row}, {col}: expected {block.shape}, found {found}")
            if joined is None:
                joined = values.copy()
                continue
            has_value = ~np.isnan(values) if np.isnan(block.nodata) else values != block.nodata
            np.copyto(joined, values, where=has_value)
        if joined is None or at in blocks.final:
            raise DataError(f"the parts do not fit together: block {row}, {col}")
        return joined

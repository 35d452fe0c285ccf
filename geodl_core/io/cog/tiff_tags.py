"""Tags of TIFF files: read from what GDAL writes, and written again, classic or BigTIFF, little-endian.

Sources: TIFF 6.0, section 2; the BigTIFF design at libtiff (https://libtiff.gitlab.io/libtiff/specification/bigtiff.html).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WIDTH, LENGTH, COMPRESSION = 256, 257, 259
TILE_OFFSETS, TILE_SIZES = 324, 325
SHORT, LONG, LONG8 = 3, 4, 16
KIND_BYTES = {1: 1, 2: 1, SHORT: 2, LONG: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, LONG8: 8, 17: 8}
INTEGERS = {SHORT: "<u2", LONG: "<u4", LONG8: "<u8"}


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag of an image file directory, without its number."""

    kind: int
    """TIFF's field type."""
    content: bytes
    """The values, little-endian."""

    @property
    def count(self) -> int:
        return len(self.content) // KIND_BYTES[self.kind]

    @property
    def integers(self) -> list[int]:
        numbers: list[int] = np.frombuffer(self.content, INTEGERS[self.kind]).tolist()
        return numbers


@dataclass(frozen=True, slots=True)
class Flavour:
    """What classic TIFF and BigTIFF do differently."""

    header_bytes: int
    count: str
    """Of tags in a directory, as `struct` says it."""
    entry: str
    """Code, kind, number of values."""
    offset: str
    offsets: int
    """Kind of the tag of the tiles' offsets."""


CLASSIC = Flavour(8, "<H", "<HHI", "<I", LONG)
BIG = Flavour(16, "<Q", "<HHQ", "<Q", LONG8)

Tags = Mapping[int, Tag]


def integer_tag(kind: int, values: npt.ArrayLike) -> Tag:
    """Return a tag of integers, kind SHORT, LONG or LONG8."""
    return Tag(kind, np.asarray(values).astype(INTEGERS[kind]).tobytes())


def read_tags(content: bytes | memoryview) -> dict[int, Tag]:
    """Return the tags of a TIFF's first directory by their numbers; assumes classic and little-endian."""
    magic, version, at = struct.unpack_from("<2sHI", content)
    assert (magic, version) == (b"II", 42)
    (count,) = struct.unpack_from("<H", content, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        code, kind, number = struct.unpack_from("<HHI", content, entry)
        length = number * KIND_BYTES[kind]
        start = entry + 8 if length <= 4 else struct.unpack_from("<I", content, entry + 8)[0]
        tags[code] = Tag(kind, bytes(content[start : start + length]))
    return tags


def header(first_directory: int, flavour: Flavour) -> bytes:
    """Return a file's first bytes, which name the place of its first directory."""
    if flavour is BIG:
        return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first_directory)
    return struct.pack("<2sHI", b"II", 42, first_directory)


def directory_bytes(tags: Tags, flavour: Flavour) -> int:
    """Return the length of a directory and the values that follow it; even, since TIFF wants words."""
    inline = struct.calcsize(flavour.offset)
    outside = sum(_even(len(tag.content)) for tag in tags.values() if len(tag.content) > inline)
    return _head_bytes(tags, flavour) + outside


def directory(tags: Tags, at: int, is_last: bool, flavour: Flavour) -> bytes:
    """Return a directory with its values behind it.

    Args:
        tags: by number.
        at: place in the file, even.
        is_last: else the next directory follows at once.
        flavour: of the file.
    """
    inline = struct.calcsize(flavour.offset)
    head = [struct.pack(flavour.count, len(tags))]
    outside: list[bytes] = []
    place = at + _head_bytes(tags, flavour)
    for code, tag in sorted(tags.items()):
        field = tag.content.ljust(inline, b"\0")
        if len(tag.content) > inline:
            field = struct.pack(flavour.offset, place)
            outside.append(tag.content.ljust(_even(len(tag.content)), b"\0"))
            place += len(outside[-1])
        head += [struct.pack(flavour.entry, code, tag.kind, tag.count), field]
    following = struct.pack(flavour.offset, 0 if is_last else place)
    return b"".join([*head, following]).ljust(_head_bytes(tags, flavour), b"\0") + b"".join(outside)


def _head_bytes(tags: Tags, flavour: Flavour) -> int:
    entry = struct.calcsize(flavour.entry) + struct.calcsize(flavour.offset)
    return _even(struct.calcsize(flavour.count) + len(tags) * entry + struct.calcsize(flavour.offset))


def _even(length: int) -> int:
    return length + length % 2

"""What a mask leaves out: values of a raster of classes, or fields of its bits, by number or by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.errors import ItemError

QA_PIXEL = (
    ("fill", 0, 1),
    ("dilated_cloud", 1, 1),
    ("cirrus", 2, 1),
    ("cloud", 3, 1),
    ("cloud_shadow", 4, 1),
    ("snow", 5, 1),
    ("clear", 6, 1),
    ("water", 7, 1),
    ("cloud_confidence", 8, 2),
    ("cloud_shadow_confidence", 10, 2),
    ("snow_confidence", 12, 2),
    ("cirrus_confidence", 14, 2),
)
"""Name, first bit and bits of Landsat's QA_PIXEL (USGS, Collection 2), for Items that do not say."""
CONFIDENCES = ("not_set", "low", "medium", "high")
SCL = (
    "no_data",
    "saturated_or_defective",
    "dark_area_pixels",
    "cloud_shadows",
    "vegetation",
    "not_vegetated",
    "water",
    "unclassified",
    "cloud_medium_probability",
    "cloud_high_probability",
    "thin_cirrus",
    "snow",
)
"""Classes of Sentinel-2's scene classification (ESA, Sen2Cor) by value, for Items that do not say."""


@dataclass(frozen=True, slots=True)
class BitField:
    """Some bits of each pixel of a mask, and what they must not be."""

    offset: int
    """Of the first bit; 0 is the least significant."""
    length: int
    values: tuple[int, ...]
    """Of the field, that are left out."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of a mask is left out of a result: whole values, or pixels with one of the fields' values."""

    values: tuple[int, ...] = ()
    bits: tuple[BitField, ...] = ()


@dataclass(frozen=True, slots=True)
class _Named:
    """Something that a name may mean."""

    names: tuple[str, ...]
    label: str
    left_out: LeftOut


def is_masked(
    values: npt.NDArray[Any], masked: tuple[int, ...], bits: tuple[BitField, ...] = ()
) -> npt.NDArray[np.bool_]:
    """Say of each pixel of a mask whether it is left out of the result.

    Args:
        values: as stored, or as a warped view shows them; NaN is never left out.
        masked: values that are.
        bits: fields of bits with theirs.
    """
    found: npt.NDArray[np.bool_] = np.isin(values, masked)
    if not bits:
        return found
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)
    numbers = values.astype(np.int64)
    for field in bits:
        found |= np.isin(numbers >> field.offset & (1 << field.length) - 1, field.values)
    return found


def resolve_mask(item_id: str, asset: Mapping[str, Any], key: tuple[str, int], words: Sequence[int | str]) -> LeftOut:
    """Return what words of a mask mean: values, names of classes or fields of bits, or `field.class`.

    Names are those of STAC's classification extension, of the band before the asset; for assets called `qa_pixel` and
    `scl` Landsat's and Sentinel-2's own names are known too. A field of one bit means that it is set.

    Args:
        item_id: of the Item, for errors.
        asset: the Item's, as it has it.
        key: of the asset, and the 0-based band.
        words: the user's.

    Raises:
        ItemError: a name is unknown or ambiguous.
    """
    names = [word for word in words if isinstance(word, str)]
    known = list(_described(asset, key[1]))
    told = {name for one in known for name in one.names}
    known += [one for one in _built_in(key[0]) if not told & {one.label}]
    chosen = [_choose(known, name, f"Item {item_id}: mask {key[0]}") for name in names]
    values = {word for word in words if not isinstance(word, str)} | {v for one in chosen for v in one.values}
    bits = dict.fromkeys(field for one in chosen for field in one.bits)
    order = sorted(bits, key=lambda field: (field.offset, field.length, field.values))
    return LeftOut(tuple(sorted(values)), tuple(order))


def _choose(known: Sequence[_Named], name: str, place: str) -> LeftOut:
    asked = _plain(name)
    exact = [one for one in known if one.label == asked]
    found = exact or [one for one in known if asked in one.names]
    if len({one.left_out for one in found}) == 1:
        return found[0].left_out
    there = ", ".join(dict.fromkeys(one.label for one in (found or known))) or "no names"
    state = "is ambiguous: it may be" if found else "is unknown: there are"
    hint = None if known else "its classes have no names in the Item; give numbers, such as scl=3,8,9"
    raise ItemError(f"{place}: {name} {state} {there}", hint)


def _described(asset: Mapping[str, Any], band: int) -> Iterator[_Named]:
    """Yield what an asset and its band say by the classification extension."""
    for place in (*_band_fields(asset, band), asset):
        for name, value in _classes(place.get("classification:classes")):
            yield _Named((name,), name, LeftOut(values=(value,)))
        for field in _objects(place.get("classification:bitfields")):
            offset, length = field.get("offset"), field.get("length")
            if isinstance(offset, int) and isinstance(length, int) and 0 <= offset < 64 and 0 < length <= 32:
                name = _plain(field.get("name") or field.get("description"))
                yield from _field(name, offset, length, list(_classes(field.get("classes"))))


def _built_in(key: str) -> Iterator[_Named]:
    if key.lower() == "scl":
        for value, name in enumerate(SCL):
            yield _Named((name,), name, LeftOut(values=(value,)))
    if key.lower() == "qa_pixel":
        for name, offset, length in QA_PIXEL:
            classes = [(word, value) for value, word in enumerate(CONFIDENCES)] if length > 1 else []
            yield from _field(name, offset, length, classes)


def _field(name: str, offset: int, length: int, classes: Sequence[tuple[str, int]]) -> Iterator[_Named]:
    """Yield a field of one bit as set, and the classes of any field."""
    if length == 1 and name:
        same = [value for word, value in classes if word == name]
        yield _Named((name,), name, LeftOut(bits=(BitField(offset, 1, tuple(same[:1]) or (1,)),)))
    for word, value in classes:
        yield _Named((word,), f"{name}.{word}", LeftOut(bits=(BitField(offset, length, (value,)),)))


def _classes(entries: Any) -> Iterator[tuple[str, int]]:
    for entry in _objects(entries):
        name, value = _plain(entry.get("name") or entry.get("description")), entry.get("value")
        if name and isinstance(value, int) and not isinstance(value, bool):
            yield name, value


def _band_fields(asset: Mapping[str, Any], band: int) -> Iterator[Mapping[str, Any]]:
    for key in ("bands", "raster:bands", "eo:bands"):
        yield from _objects(asset.get(key))[band : band + 1]


def _objects(entries: Any) -> list[Mapping[str, Any]]:
    return [entry if isinstance(entry, Mapping) else {} for entry in entries] if isinstance(entries, list) else []


def _plain(name: Any) -> str:
    """Return a name as it is compared: in lower case, words joined by underscores."""
    return "_".join(str(name or "").lower().replace("-", " ").split())

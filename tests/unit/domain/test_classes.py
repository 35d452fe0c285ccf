"""Class ids: which type stores them and which value stays free."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.classes import Storage, choose_storage, default_color, lookup_table
from geodl_core.errors import ModelError

ORDER = ("uint8", "uint16", "uint32", "int8", "int16", "int32")
ids = st.one_of(
    st.sets(st.integers(-200, 300), min_size=1, max_size=300),
    st.sets(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5),
    st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=5),
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Storage("uint8", 255)),
        (range(5), Storage("uint8", 255)),
        (range(255), Storage("uint8", 255)),
        ([255], Storage("uint8", 254)),
        ([0, 254, 255], Storage("uint8", 253)),
        (range(1, 256), Storage("uint8", 0)),
        (range(256), Storage("uint16", 65535)),
        ([256], Storage("uint16", 65535)),
        ([0, 65535], Storage("uint16", 65534)),
        ([-1, 3], Storage("int8", 127)),
        ([-1, 127], Storage("int8", 126)),
        ([-128, 128], Storage("int16", 32767)),
        (range(-128, 128), Storage("int16", 32767)),
        ([-1, 40000], Storage("int32", 2147483647)),
    ],
)
def test_choose_storage(values: list[int], expected: Storage) -> None:
    """The smallest type with room for one more value, unsigned unless an id is negative."""
    assert choose_storage(values) == expected


@given(ids)
def test_nodata_is_never_a_class(values: set[int]) -> None:
    """Nodata fits the type and is no class id; no smaller type of the same sign would have done."""
    try:
        storage = choose_storage(values)
    except ModelError:
        assert min(values) < 0
        assert max(values) >= 2**31 - 1
        return
    info = np.iinfo(storage.dtype)
    assert storage.nodata not in values
    assert info.min <= storage.nodata <= info.max
    assert info.min <= min(values)
    assert max(values) <= info.max
    assert (info.min < 0) == (min(values) < 0)
    signed = [name for name in ORDER if (np.iinfo(name).min < 0) == (info.min < 0)]
    for smaller in signed[: signed.index(storage.dtype)]:
        room = np.iinfo(smaller)
        fits = room.min <= min(values) and max(values) <= room.max
        assert not fits or len(values) == room.max - room.min + 1


@given(ids)
def test_nodata_does_not_depend_on_the_order(values: set[int]) -> None:
    """The order in which the classes are listed does not matter."""
    try:
        expected = choose_storage(sorted(values))
    except ModelError:
        return
    assert choose_storage(sorted(values, reverse=True)) == expected


@pytest.mark.parametrize("values", [[2**32], [-1, 2**31], [-(2**31) - 1], [10**30]])
def test_ids_beyond_32_bits(values: list[int]) -> None:
    """Ids that no type of 32 bits holds are a ModelError that names the range."""
    with pytest.raises(ModelError, match=f"{min(values)} to {max(values)}"):
        choose_storage(values)


def test_lookup_table() -> None:
    """The table has the storage type and turns an index into its id."""
    table = lookup_table((7, 0, 255), Storage("uint8", 254))
    assert table.dtype == np.uint8
    assert table.tolist() == [7, 0, 255]


def test_default_colours_are_distinct_bytes() -> None:
    """A hundred classes without a colour get a hundred colours."""
    colours = [default_color(position) for position in range(100)]
    assert len(set(colours)) == 100
    assert all(0 <= part <= 255 for colour in colours for part in colour)

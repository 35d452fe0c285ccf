"""Which label of a detector is which class id."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.labels import class_ids_of, class_table
from geodl_core.domain.emd.types import EmdClass
from geodl_core.errors import ModelError


def classes_of(*values, names=None):
    names = names or [f"c{value}" for value in values]
    return [EmdClass(Value=value, Name=name) for value, name in zip(values, names, strict=True)]


def decoder_of(first=0, count=None, **settings):
    return Decoder("yolo", ("y",), "pixels", count, first, settings=settings)


@pytest.mark.parametrize(
    ("values", "first", "by_value", "by_position"),
    [
        ([1, 2, 4, 90], 1, {1: 1, 2: 2, 4: 4, 90: 90}, {1: 1, 2: 2, 3: 4, 4: 90}),
        ([1, 3, 5], 0, {1: 1, 3: 3, 5: 5}, {0: 1, 1: 3, 2: 5}),
        ([1, 2, 4], 0, {1: 1, 2: 2, 4: 4}, {0: 1, 1: 2, 2: 4}),
    ],
)
def test_values_with_gaps(values, first, by_value, by_position):
    """Labels that a network writes may have gaps as the Values have; numbers of scores have none, and it is said."""
    _, table, notes = class_table(classes_of(*values), decoder_of(first))
    assert table == by_value
    assert not notes
    _, table, notes = class_table(classes_of(*values), decoder_of(first, len(values)))
    assert table == by_position
    assert "by position" in notes[0]


@pytest.mark.parametrize(
    ("values", "first", "table", "is_noted"),
    [
        ([0, 1, 2], 0, {0: 0, 1: 1, 2: 2}, False),
        ([1, 2, 3], 1, {1: 1, 2: 2, 3: 3}, False),
        ([2, 1, 0], 0, {0: 0, 1: 1, 2: 2}, False),
        ([1, 2, 3], 0, {0: 1, 1: 2, 2: 3}, True),
        ([0, 1, 2], 1, {1: 0, 2: 1, 3: 2}, True),
        ([11, 12, 13], 0, {0: 11, 1: 12, 2: 13}, True),
        ([11, 12, 13], 1, {1: 11, 2: 12, 3: 13}, True),
        ([0], 1, {1: 0}, True),
        ([1], 0, {0: 1}, True),
    ],
)
@pytest.mark.parametrize("is_counted", [True, False])
def test_by_value_else_by_position(values, first, table, is_noted, is_counted):
    """A label is a Value; where that cannot be it is a place in the list, and a note says so."""
    entries, found, notes = class_table(classes_of(*values), decoder_of(first, len(values) if is_counted else None))
    assert dict(found) == table
    assert [entry.value for entry in entries] == values
    assert bool(notes) == is_noted
    assert all("by position" in note for note in notes)


def test_the_definition_may_force_a_rule():
    """Config classes stands above what would be chosen."""
    classes = classes_of(1, 2, 3)
    assert dict(class_table(classes, decoder_of(0, classes="value"))[1]) == {1: 1, 2: 2, 3: 3}
    assert dict(class_table(classes, decoder_of(1, classes="position"))[1]) == {1: 1, 2: 2, 3: 3}
    assert dict(class_table(classes_of(7, 8), decoder_of(1, classes="position"))[1]) == {1: 7, 2: 8}
    some = class_table(classes_of(3, 17), decoder_of(0, 91, classes="value"))[1]
    assert dict(some) == {3: 3, 17: 17}
    with pytest.raises(ModelError, match="classes: expected value or position"):
        class_table(classes, decoder_of(0, classes="name"))


@pytest.mark.parametrize("count", [2, 4, 20])
def test_another_number_of_classes_is_refused(count):
    """A network that tells another number of classes apart is refused, with both numbers and the way out."""
    with pytest.raises(ModelError, match=rf"tells {count} classes apart.*Classes has 3") as caught:
        class_table(classes_of(1, 2, 3), decoder_of(0, count))
    assert "background" in caught.value.hint


def test_background_is_no_object():
    """A class called Background is left out, with a note, unless the network scores it as one of its own."""
    classes = classes_of(0, 1, 2, names=["Background", "Car", "Ship"])
    entries, table, notes = class_table(classes, decoder_of(1, 2))
    assert [entry.name for entry in entries] == ["Car", "Ship"]
    assert dict(table) == {1: 1, 2: 2}
    assert any("background" in note for note in notes)
    entries, table, notes = class_table(classes, decoder_of(0, 3))
    assert [entry.name for entry in entries] == ["Background", "Car", "Ship"]
    assert dict(table) == {0: 0, 1: 1, 2: 2}
    assert not notes


def test_classes_must_be_told_apart():
    """No classes, and one Value twice, are refused; names may be the same."""
    with pytest.raises(ModelError, match="Classes is missing"):
        class_table([], decoder_of())
    with pytest.raises(ModelError, match=r"found \[2\] more than once"):
        class_table(classes_of(1, 2, 2), decoder_of())
    entries, _, _ = class_table(classes_of(1, 2, names=["Clutter", "Clutter"]), decoder_of(1))
    assert len({entry.color for entry in entries}) == 2


def test_colours_are_those_of_the_definition():
    """A colour that is said is kept; one that is missing, or -1, is made."""
    classes = [
        EmdClass(Value=0, Name="a", Color=(1, 2, 3)),
        EmdClass(Value=1, Name="b"),
        EmdClass(Value=2, Name="c", Color=(-1, -1, -1)),
    ]
    colors = [entry.color for entry in class_table(classes, decoder_of(0, 3))[0]]
    assert colors[0] == (1, 2, 3)
    assert len(set(colors)) == 3
    assert min(map(min, colors)) >= 0


def test_labels_without_a_class_are_refused():
    """A label that no class has is named, with the labels that there are."""
    table = {1: 10, 2: 20}
    assert class_ids_of(np.array([2, 1, 2]), table).tolist() == [20, 10, 20]
    assert class_ids_of(np.array([], np.int64), table).dtype == np.int32
    with pytest.raises(ModelError, match=r"label 3.*labels 1, 2 of Values 10, 20"):
        class_ids_of(np.array([1, 3]), table)


@given(st.sets(st.integers(-5, 300), min_size=1, max_size=8), st.integers(0, 1))
def test_a_table_is_one_to_one(values, first):
    """Whatever the Values, every class has one label; by position they are those that are expected, in order."""
    ordered = sorted(values)
    _, table, notes = class_table(classes_of(*ordered), decoder_of(first, len(ordered)))
    assert sorted(table.values()) == ordered
    if notes:
        assert list(table) == list(range(first, first + len(ordered)))
    else:
        assert all(label == value for label, value in table.items())

"""The attribute table: XML that every reader takes, whatever the classes are called."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.result.attribute_table import FIELDS, MAX_CATEGORIES, attribute_table_xml

# All that XML 1.0 can hold: https://www.w3.org/TR/xml/#charsets
writable = st.text(
    st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\ufffe\uffff\x7f").filter(
        lambda character: character.isprintable()
    )
)
bytes_ = st.integers(0, 255)


def entry(value: int, name: str = "a", color: tuple[int, int, int] = (1, 2, 3)) -> ClassEntry:
    return ClassEntry(value, name, color)


def rows_of(document: bytes) -> list[list[str]]:
    return [[cell.text or "" for cell in row] for row in ET.fromstring(document).iter("Row")]


@given(
    st.dictionaries(
        st.integers(-5, 300),
        st.tuples(writable, st.tuples(bytes_, bytes_, bytes_), st.integers(0, 10**10)),
        min_size=1,
        max_size=6,
    )
)
def test_writing_then_reading_returns(classes: dict[int, tuple[str, tuple[int, int, int], int]]) -> None:
    """The table read back holds every class with value, name, colour and count, by rising value."""
    entries = [entry(value, name, color) for value, (name, color, _) in classes.items()]
    counts = {value: count for value, (_, _, count) in classes.items()}
    document = attribute_table_xml(entries, counts)
    expected = [
        [str(value), name, *map(str, color), str(count)] for value, (name, color, count) in sorted(classes.items())
    ]
    assert rows_of(document) == expected
    categories = [category.text or "" for category in ET.fromstring(document).iter("Category")]
    if min(classes) < 0:
        assert categories == []
    else:
        assert categories == [classes.get(value, ("",))[0] for value in range(max(classes) + 1)]


@pytest.mark.parametrize("name", ["a & b", "<b>", "\"quoted\" 'twice'", "森林", "Wälder", "غابة", "🌲", "]]>", "&amp;"])
def test_names_that_need_care(name: str) -> None:
    """Marks, quotes and letters of any script come back as they were."""
    assert rows_of(attribute_table_xml([entry(1, name)], {}))[0][1] == name


@pytest.mark.parametrize("name", ["bell\x07", "\x00", "esc\x1b[0m", "\ufffe", "\x0b", "\uffff"])
def test_names_that_xml_cannot_hold(name: str) -> None:
    """Characters that XML cannot hold do not spoil the document."""
    rows = rows_of(attribute_table_xml([entry(1, name), entry(2, "b")], {1: 7}))
    assert [row[0] for row in rows] == ["1", "2"]
    assert rows[0][-1] == "7"


def test_lone_surrogates() -> None:
    """Half a character does not spoil the document either."""
    assert len(rows_of(attribute_table_xml([entry(1, "half \ud800")], {}))) == 1


def test_fields_as_gdal_names_them() -> None:
    """The columns stand in order, with GDAL's numbers of type and usage."""
    root = ET.fromstring(attribute_table_xml([entry(1)], {}))
    assert root.tag == "PAMDataset"
    fields = [
        (field.findtext("Name"), int(field.findtext("Type", "")), int(field.findtext("Usage", "")))
        for field in root.iter("FieldDefn")
    ]
    assert fields == list(FIELDS)
    assert [field.get("index") for field in root.iter("FieldDefn")] == list(map(str, range(len(FIELDS))))


def test_large_class_ids_leave_the_category_names_out() -> None:
    """A class id beyond 65535 does not make a list of as many names; the table has the name."""
    document = attribute_table_xml([entry(MAX_CATEGORIES, "far")], {MAX_CATEGORIES: 1})
    assert b"Category" not in document
    assert rows_of(document)[0][:2] == [str(MAX_CATEGORIES), "far"]
    edge = attribute_table_xml([entry(MAX_CATEGORIES - 1, "edge")], {})
    assert len(list(ET.fromstring(edge).iter("Category"))) == MAX_CATEGORIES


def test_same_table_same_bytes() -> None:
    """The order in which classes and counts are listed does not change a byte."""
    classes, counts = [entry(2, "b"), entry(1, "a")], {1: 5, 2: 6}
    assert attribute_table_xml(classes, counts) == attribute_table_xml(classes[::-1], dict(reversed(counts.items())))

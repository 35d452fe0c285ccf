"""Bodies as JSON: what is taken and what is refused, byte by byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.catalog.api.documents import DEEPEST, read_json
from geodl_core.errors import ItemError

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    lambda below: st.one_of(st.lists(below), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), below)),
)


@given(VALUES, st.booleans(), st.booleans())
def test_json_is_read_as_the_standard_library_reads_it(value, is_ascii, has_mark):
    """Whatever is JSON is read as the standard library reads it, escaped or not, with a byte-order mark or without."""
    text = json.dumps(value, ensure_ascii=is_ascii)
    found = read_json(text.encode("utf-8-sig" if has_mark else "utf-8"))
    assert found == json.loads(text)
    assert json.dumps(found) == json.dumps(json.loads(text))


@pytest.mark.parametrize("opening", ["[", '{"x":'])
def test_depth_is_bounded(opening):
    """A hundred levels of nesting are read, one more is refused, and a hundred thousand too."""
    closing = {"[": "]", '{"x":': "}"}[opening]
    assert read_json((opening * DEEPEST + "1" + closing * DEEPEST).encode())
    for depth in (DEEPEST + 1, 199, 201, 100_000):
        with pytest.raises(ItemError):
            read_json((opening * depth + "1" + closing * depth).encode())


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[1,]", b"NaN", b"[Infinity]", b"-Infinity", b"{} {}", b"01", b"'a'", b'"\n"', b"9" * 10_000),
        *(b"\xff\xfe", b'"\xc3"', b"\xef\xbb", '"é"'.encode("utf-16"), '"é"'.encode("latin-1")),
        *(rb'"\ud800"', rb'"\udc00\ud800"'),
    ],
)
def test_what_is_no_json_is_refused(body):
    """Half documents, numbers without end, half surrogate pairs and other encodings are refused."""
    with pytest.raises(ItemError, match="body: expected"):
        read_json(body)

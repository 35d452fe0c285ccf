"""JSON Merge Patch and JSON Patch do what their standards' own examples say."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.catalog.api.patches import merged, patched

# RFC 7396, appendix A.
MERGES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("document", "patch", "expected"), MERGES)
def test_merge_patches_of_the_standard(document, patch, expected):
    """Each example of RFC 7396 comes out as it says."""
    before = deepcopy(document)
    assert merged(document, patch) == expected
    assert document == before


# RFC 6902, appendix A; those that fail have the kind of their error.
PATCHES = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"g": {}}}], {"foo": "bar", "child": {"g": {}}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["a", "b"]}], {"foo": ["bar", ["a", "b"]]}),
    ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": [2]}], [2]),
    ({"a": [1.0]}, [{"op": "test", "path": "/a", "value": [1]}], {"a": [1.0]}),
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], LookupError),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], LookupError),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], LookupError),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": True}], LookupError),
    ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}], LookupError),
    ({"a": [1]}, [{"op": "remove", "path": "/a/-"}], LookupError),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/01"}], LookupError),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}], LookupError),
    ({"a": 1}, [{"op": "replace", "path": "/b", "value": 1}], LookupError),
    ({"a": "text"}, [{"op": "remove", "path": "/a/0"}], LookupError),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}], ValueError),
    ({"a": 1}, [{"op": "add", "path": "/b"}], ValueError),
    ({"a": 1}, [{"op": "remove", "path": "a"}], ValueError),
    ({"a": 1}, [{"op": "remove", "path": ""}], ValueError),
    ({"a": 1}, ["remove"], ValueError),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}] * 1001, ValueError),
]


@pytest.mark.parametrize(("document", "patch", "expected"), PATCHES)
def test_patches_of_the_standard(document, patch, expected):
    """Each example of RFC 6902 comes out as it says or fails, and the document given stays as it was."""
    before = deepcopy(document)
    if isinstance(expected, type):
        with pytest.raises(expected):
            patched(document, patch)
    else:
        assert patched(document, patch) == expected
    assert document == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=8,
)


@given(JSON, st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_a_merge_patch_done_twice_is_done_once(document, patch):
    """A merge patch is idempotent."""
    once = merged(document, patch)
    assert merged(once, patch) == once


@given(st.dictionaries(st.text(max_size=3), JSON, min_size=1), st.data())
def test_what_is_added_is_tested_and_removed(document, data):
    """Any member, its name with slashes and tildes too, can be added, tested, and taken away again."""
    name = data.draw(st.text(max_size=4).filter(lambda one: one not in document))
    value = data.draw(JSON)
    path = "/" + name.replace("~", "~0").replace("/", "~1")
    added = patched(
        document, [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
    )
    assert added == {**document, name: value}
    assert patched(added, [{"op": "remove", "path": path}]) == document

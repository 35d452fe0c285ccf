"""Filters of watches: what is read, what is refused, what is never evaluated."""

import subprocess
import sys

import pytest

from geodl_core.domain.cql2_bounds import MAX_DEPTH
from geodl_core.domain.watch.filters import ask, read_filter, value_of
from geodl_core.errors import QueryError

ITEM = {
    "id": "i",
    "collection": "c",
    "properties": {"a": 1, "s": "Ab", "tags": ["x", "y"], "datetime": "2024-01-01T00:00:00Z", "n": {"m": 3}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", True),
        ("properties.a > 1", False),
        ("n.m = 3", True),
        ("a + 1 = 2 and s like 'A%'", True),
        ("casei(s) = casei('aB') or a is null", True),
        ("a is null", False),
        ("nothing is null", True),
        ("a between 0 and 2 and a in (1, 2)", True),
        ("collection = 'c' and id = 'i'", True),
        ("a_contains(tags, ('x'))", True),
        ("t_after(datetime, TIMESTAMP('2023-01-01T00:00:00Z'))", True),
        ({"op": "<", "args": [{"property": "a"}, 1]}, False),
        ('{"op": "<=", "args": [{"property": "a"}, 1]}', True),
    ],
)
def test_filters_are_evaluated(text, expected):
    """Text, JSON and JSON text are read, and properties are found by their names or inside objects."""
    assert ask(read_filter(text), ITEM).passed is expected


@pytest.mark.parametrize(
    "text",
    [
        "a <",
        "",
        "foo(1) = 2",
        {"op": "zzz", "args": []},
        "{",
        '{"op": "between", "args": [1]}',
        "(" * (MAX_DEPTH + 1) + "a = 1" + ")" * (MAX_DEPTH + 1),
        "(" * 100_000,
        "not " * 5_000 + "a = 1",
        "+".join(["a"] * 5_000) + " < 5",
        "a" + " - a" * 5_000 + " < 5",
        "-" * 5_000 + "a < 5",
        "a = 'x' " * 100_000,
    ],
)
def test_what_cannot_be_read_is_refused(text):
    """Neither wrong nor monstrous filters come through, and none of them ends the process."""
    with pytest.raises(QueryError):
        read_filter(text)


def test_deep_json_is_refused():
    """JSON that nests without end is refused before the parser sees it."""
    tree = {"op": "=", "args": [{"property": "a"}, 1]}
    for _ in range(5_000):
        tree = {"op": "not", "args": [tree]}
    with pytest.raises(QueryError):
        read_filter('{"op":"not","args":[' * 5_000 + "true" + "]}" * 5_000)


def test_long_but_flat_filters_are_taken():
    """Signs in coordinates and many conditions side by side are no depth."""
    ring = ", ".join(f"{-n / 10} {-n % 7}" for n in range(400))
    assert read_filter(f"s_intersects(geometry, POLYGON(({ring}, 0 0)))").names == ("geometry",)
    assert ask(read_filter(" or ".join(f"a = {n}" for n in range(300))), ITEM).passed
    assert read_filter("s = '" + "-" * 500 + "(" * 500 + "' and a < 1").names == ("a", "s")


def test_the_deepest_filter_that_is_taken_does_no_harm():
    """At the bound itself, parsing, evaluating and forgetting a filter end well, also in a thread's small stack."""
    code = f"""
import threading
from geodl_core.domain.watch.filters import ask, read_filter
def run():
    for text in ("(" * {MAX_DEPTH} + "a = 1" + ")" * {MAX_DEPTH}, "not " * {MAX_DEPTH} + "a = 1",
                 "a" + " + a" * {MAX_DEPTH - 1} + " = 100", "a = " + "-" * {MAX_DEPTH - 1} + "1"):
        ask(read_filter(text), {{"properties": {{"a": 1}}}})
    print("well")
threading.stack_size(1024 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr


def test_values_are_found_as_filters_name_them():
    """What an explanation shows is what the filter looked at."""
    found = [value_of(ITEM, name) for name in ("a", "properties.s", "n.m", "id", "nothing", "n.x.y", "collection")]
    assert found == [1, "Ab", 3, "i", None, None, "c"]

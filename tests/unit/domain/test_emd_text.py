"""Tolerant JSON: what is repaired, what is refused, and where things stand."""

import json
import random
import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.emd import text as emd_text
from geodl_core.domain.emd.text import Place, parse_tolerant, spell
from geodl_core.errors import ModelError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Tabs and line ends in what begins like a Windows path are taken for its backslashes.
    | st.text(max_size=8).filter(lambda text: "\\" not in text),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc/\"'é,", max_size=4), inner, max_size=4),
    max_leaves=12,
)


def parsed(text: str) -> dict[str, object]:
    return parse_tolerant(text, "m.emd").document


@given(st.dictionaries(st.text("abc", max_size=4), values, max_size=5), st.sampled_from([None, 0, 2]), st.booleans())
def test_valid_json_is_read_as_it_is(document: dict[str, object], indent: int | None, is_ascii: bool) -> None:
    """On valid JSON the reader agrees with the standard library, and has nothing to repair."""
    text = json.dumps(document, indent=indent, ensure_ascii=is_ascii)
    reading = parse_tolerant(text, "m.emd")
    assert reading.document == json.loads(text)
    assert list(reading.document) == list(json.loads(text))
    assert reading.repairs == ()


@pytest.mark.parametrize(
    ("text", "document", "line", "message"),
    [
        ('\ufeff{"a": 1}', {"a": 1}, 1, "byte-order mark"),
        ('{\n// one, "two"\n"a": 1}', {"a": 1}, 2, "comment"),
        ('{"a": /* 1,\n2 */ 3}', {"a": 3}, 1, "comment"),
        ('{\n"a": 1,\n}', {"a": 1}, 2, "a comma too many after a"),
        ('{"a": [1, 2,]}', {"a": [1, 2]}, 1, r"a comma too many after a\[1\]"),
        ('{"a": [1,,2]}', {"a": [1, 2]}, 1, "a comma too many"),
        ('{,"a": 1}', {"a": 1}, 1, "a comma too many"),
        ('{"n": "x"\n"v": "1"}', {"n": "x", "v": "1"}, 1, "a comma was missing after n"),
        ('{"a": [{}\n{}]}', {"a": [{}, {}]}, 1, r"a comma was missing after a\[0\]"),
        ("{'a': 'it\\'s \"x\"'}", {"a": 'it\'s "x"'}, 1, "single quotes"),
        ('{"a": [True, False, None]}', {"a": [True, False, None]}, 1, r"a\[0\]: True is not JSON; read as true"),
        ('{"a": [NaN, -Infinity]}', {"a": [None, None]}, 1, "read as null"),
        ('{"a": [+1, .5, 2., 007]}', {"a": [1, 0.5, 2.0, 7]}, 1, "not a JSON number"),
        ('{"a": "\\d\\n"}', {"a": "\\d\n"}, 1, "escapes nothing"),
        ('{"a": "x\ty"}', {"a": "x\ty"}, 1, "control character"),
        ('{"a": "\\ud800"}', {"a": "\ufffd"}, 1, "half a Unicode character"),
        ('{\u00a0"a": 1}', {"a": 1}, 1, "blanks"),
        ('{"a": 1,\n "b": 2,\n "a": 3}', {"b": 2, "a": 3}, 3, "a stands twice; the last one counts"),
    ],
)
def test_repairs(text: str, document: dict[str, object], line: int, message: str) -> None:
    """What leaves no doubt is read, and said with its line."""
    reading = parse_tolerant(text, "m.emd")
    assert reading.document == document
    assert list(reading.document) == list(document)
    assert reading.repairs[0].line == line
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(reading.repairs[0].message)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (r"C:\models\net.onnx", r"C:\models\net.onnx"),
        (r".\net.onnx", r".\net.onnx"),
        (r"..\u1234\test.onnx", r"..\u1234\test.onnx"),
        (r"\\server\share\net.onnx", r"\\server\share\net.onnx"),
        (r"C:\\models\net.onnx", r"C:\models\net.onnx"),
        (r"[Functions]\System\x.py", r"[Functions]\System\x.py"),
        ("C:\\models\\", "C:\\models\\"),
    ],
)
@pytest.mark.parametrize("after", [', "b": 1}', '\n, "b": 1}', ',\n"b": 1}'])
def test_windows_paths(raw: str, path: str, after: str) -> None:
    """What looks like a Windows path with single backslashes is read letter by letter, and said."""
    reading = parse_tolerant(f'{{"ModelFile": "{raw}"{after}', "m.emd")
    assert reading.document == {"ModelFile": path, "b": 1}
    assert [repair.key for repair in reading.repairs] == ["ModelFile"]
    assert "Windows path" in reading.repairs[0].message


@pytest.mark.parametrize("path", [r"C:\models\net.onnx", r".\net.onnx", r"\\server\n", "C:\\Donn\u00e9es\\x", "D:\\"])
def test_escaped_paths_stay(path: str) -> None:
    """A Windows path that JSON writes as it should is no repair."""
    reading = parse_tolerant(json.dumps({"ModelFile": path}), "m.emd")
    assert (reading.document, reading.repairs) == ({"ModelFile": path}, ())


def test_comment_marks_within_strings() -> None:
    """Slashes within strings are no comments."""
    assert parsed('{"a": "http://x/*y*/"}') == {"a": "http://x/*y*/"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: expected a JSON object, which begins with {, found the end of the text"),
        ("[]", 'line 1, column 1: expected a JSON object, which begins with {, found "["'),
        ('{"a": 1,\n "b" 2}', 'line 2, column 6: expected a colon after the key b, found "2"'),
        ('{\n"a": [1, 2}', 'line 2, column 11: expected a comma or the ] of line 2, found "}"'),
        ('{\n"a": 1', "line 2, column 7: expected a comma or the } of line 1, found the end of the text"),
        ('{"a": }', 'line 1, column 7: expected a value, found "}"'),
        ('{"a": yes}', 'line 1, column 7: expected a value, found "yes"'),
        ("{a: 1}", 'line 1, column 2: expected a key in double quotes, found "a"'),
        ('{"a": 1 b}', 'line 1, column 9: expected a comma or the } of line 1, found "b"'),
        ('{"a": "x\n"}', 'line 1, column 7: expected a string that ends with " on its line, found "\\"x"'),
        ('{"a": 1} x', 'line 1, column 10: expected nothing after the } that ends the object, found "x"'),
        ("{/* x", 'line 1, column 2: expected a comment that ends with */, found "/"'),
        ('{"a": 1e400}', 'line 1, column 7: expected a number that a computer can hold, found "1e400"'),
    ],
)
def test_refusals(text: str, message: str) -> None:
    """What cannot be repaired names line, column, what was expected and what is there."""
    with pytest.raises(ModelError) as caught:
        parse_tolerant(text, "m.emd")
    assert caught.value.message == f"m.emd: {message}"


def test_positions() -> None:
    """Keys and elements know their line and column, down to the keys of a class."""
    text = '{"A": 1,\n  "Classes": [\n    {"Value": 1},\n    {\n      "Value": 2, "Deep": [[1]]}]}'
    positions = parse_tolerant(text, "m.emd").positions
    assert positions["A",] == Place(1, 2)
    assert positions["Classes",] == Place(2, 3)
    assert positions["Classes", 1] == Place(4, 5)
    assert positions["Classes", 1, "Value"] == Place(5, 7)
    assert max(map(len, positions)) == 3
    assert spell(("Classes", 1, "Value")) == "Classes[1].Value"


def test_depth() -> None:
    """A hundred levels are read, one more is refused, however many follow."""
    assert parsed('{"a": ' + "[" * 99 + "]" * 99 + "}")
    for count in (100, 100_000):
        with pytest.raises(ModelError, match="nested too deeply"):
            parsed('{"a": ' + "[" * count + "]" * count + "}")


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [' + "0," * 50_001 + "0]}",
        '{"a": [' + "0 " * 20_000 + "0]}",
        '{"a": "' + "x" * 5_000_000 + '"}',
        '{"a": ' + "1" * 100_000 + "}",
    ],
    ids=["values", "repairs", "characters", "digits"],
)
def test_bounds(text: str) -> None:
    """Too many values, mistakes, characters or digits are refused."""
    with pytest.raises(ModelError):
        parsed(text)


HOSTILE = {
    "paths": '{"a": [' + '"C:\\x\\", ' * 16_000 + "1]}",
    "backslashes": '{"a": "' + "\\" * 49_000 + '"}',
    "backslashes of a path": '{"a": "C:' + "\\x\\" * 24_000 + '"}',
    "digits": '{"a": ' + "1." * 2_400_000 + "}",
    "slashes": '{"a": 1 ' + "/*" * 2_400_000 + "}",
    "letters": '{"a": "C:\\' + "\U0001f30d" * 4_900_000 + '"}',
    "quotes": "{" + '"' * 4_900_000 + "}",
    "objects": '{"a": [' + "{}," * 24_000 + "1]}",
    "repairs": '{"a": [' + '"x" ' * 9_999 + "0]}",
    "lines": "{" + "\n" * 49_000 + "}",
    "keys": "{" + ",".join(f'"{i}": {{"{i}": 1}}' for i in range(24_000)) + "}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_time_and_memory_stay_bounded(text: str) -> None:
    """No text takes more than two seconds or 200 MB beyond itself."""
    started = time.perf_counter()
    with suppress(ModelError):
        parse_tolerant(text, "m.emd")
    assert time.perf_counter() - started < 2
    tracemalloc.start()
    with suppress(ModelError):
        parse_tolerant(text, "m.emd")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


@given(st.text("{}[]:,\"'\\/*ntu0123456789.-+eTN \n", max_size=60))
def test_any_text(text: str) -> None:
    """Whatever is written, it is read or a ModelError of one line."""
    for candidate in (text, '{"a": ' + text, "{" + text + "}"):
        try:
            parse_tolerant(candidate, "m.emd")
        except ModelError as error:
            assert "\n" not in error.message


def test_mutated_documents_keep_their_places() -> None:
    """Leaving out or doubling any one comma of a document changes nothing but the repairs."""
    document = {"a": 1, "b": [1, 2, {"c": "x,y"}], "d": {"e": None, "f": [[], {}]}}
    text = json.dumps(document, indent=1)
    commas = [i for i, character in enumerate(text) if character == "," and text[i + 1] == "\n"]
    for at in random.Random(1).sample(commas, len(commas)):
        for changed in (text[:at] + text[at + 1 :], text[:at] + "," + text[at:]):
            reading = parse_tolerant(changed, "m.emd")
            assert reading.document == document
            assert [repair.line for repair in reading.repairs] == [text.count("\n", 0, at) + 1]
    assert len(commas) < emd_text.MAX_REPAIRS

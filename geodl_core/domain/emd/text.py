r"""JSON as people write it: small mistakes are repaired and said, and every key knows its line.

One reader for valid and broken text alike, since the standard library's tells no positions and takes the `\n` of
`".\net.onnx"` for a line end; on valid JSON the two agree. Packages that were weighed: json5, pyjson5, hjson and
demjson3 know neither missing commas nor positions, json-repair guesses until something comes out.
"""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.errors import ModelError

MAX_CHARACTERS = 5_000_000
MAX_PIECES = 50_000
"""Commas, opening brackets, lines and backslashes. Time and memory follow from both bounds (under 2 s and 200 MB for
any text); a definition of 1,000 classes has 100,000 characters and 15,000 pieces."""
MAX_REPAIRS = 10_000
MAX_DEPTH = 100
MAX_DIGITS = 300
"""What is shorter fits a double, so that no later conversion overflows."""
MAX_SAID = 200
"""Characters of a key or value in a message."""
PLACED_DEPTH = 3
"""`Classes[2].Value` has a position of its own, what lies deeper that of the key above."""

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\r\n]*")
_ODD_BLANK = re.compile(r"(?:[^\S \t\r\n]|[\ufeff\u200b])+")
_COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"[-+.\w]+")
_REST_OF_LINE = re.compile(r"[^\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<real>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)")
_LOOSE_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}
_OTHER_WORDS = {**_WORDS, "none": None, "nan": None, "inf": None, "infinity": None}
_STRING = {mark: re.compile(rf"{mark}([^{mark}\\\r\n]*(?:\\.[^{mark}\\\r\n]*)*){mark}") for mark in "\"'"}
_TO_NEXT_MARK = {mark: re.compile(rf"{mark}([^{mark}\r\n]*){mark}") for mark in "\"'"}
_MEMBER_ENDS = re.compile(r"[ \t]*(?:[,}\]\r\n]|$)")
_SPECIAL = re.compile(r"[\\\x00-\x1f\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:[\"\\/bfnrt']|u[0-9A-Fa-f]{4})|\\|\"")
_PATH_START = re.compile(r"[A-Za-z]:\\|\.{1,2}\\|\\\\|\[\w+\]\\")
_PATH_ESCAPE = re.compile(r"\\(?:[\"/\\]|u[0-9A-Fa-f]{4})|(\\)")


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a text, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that was read otherwise than it is written."""

    line: int
    column: int
    key: str
    """The key concerned, such as `Classes[2].Name`; empty where it is none."""
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class ParsedText:
    """A JSON object, what was repaired in it, and where its keys stand."""

    document: dict[str, Any]
    repairs: tuple[Repair, ...]
    positions: Mapping[KeyPath, Place]
    """Of every key and element, up to three levels deep; `()` is the object itself."""


def parse_tolerant(text: str | bytes, origin: str) -> ParsedText:
    """Read a JSON object, repairing what leaves no doubt.

    Repaired and reported: a byte-order mark, comments, commas too many or missing, single quotes, backslashes that
    stand alone (literal in what looks like a Windows path), Python's literals, NaN and infinities (read as null),
    numbers such as `+1` and `.5`, odd blanks, keys that stand twice (the last counts). Linear in the text's length.

    Args:
        text: JSON, UTF-8 where bytes.
        origin: what to call it in errors, such as the file's name.

    Raises:
        ModelError: not UTF-8, too large, nested too deeply, or broken beyond that, with line, column and what was
            expected there.
    """
    text = _decoded(text, origin) if isinstance(text, bytes) else text
    if len(text) > MAX_CHARACTERS or sum(map(text.count, ",[{\n\\")) > MAX_PIECES:
        found = f"{len(text)} characters, too large or nested too deeply to be one"
        raise ModelError(f"{origin}: expected a model definition, found {found}")
    reader = _Reader(text, origin)
    document = reader.read_document()
    repairs = sorted(reader.repairs, key=lambda repair: (repair.line, repair.column))
    return ParsedText(document, tuple(repairs), {path: reader.place(at) for path, at in reader.offsets.items()})


def _decoded(content: bytes, origin: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"found other bytes at {error.start}"
        raise ModelError(f"{origin}: line {line}: expected JSON text in UTF-8, {found}") from error


def spell(path: KeyPath) -> str:
    """Return a path as people write it, on one line: `Classes[2].Value`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return _on_one_line(text.removeprefix("."))


def _on_one_line(text: str) -> str:
    """Return a text with its line ends and the like escaped, cut where it is long."""
    text = text if len(text) <= MAX_SAID else f"{text[:MAX_SAID]}..."
    return text if text.isprintable() else json.dumps(text)[1:-1]


def is_bare_path(raw: str) -> bool:
    """Return whether a string, as written between its quotes, is a Windows path whose backslashes stand alone."""
    return _PATH_START.match(raw) is not None and _has_bare_backslash(raw)


def _has_bare_backslash(raw: str) -> bool:
    return any(match[1] for match in _PATH_ESCAPE.finditer(raw))


def _literal_path(raw: str) -> str:
    r"""Return a bare path; doubled backslashes among the single ones count once, but for those of `\\server`."""
    host = "\\\\" if raw.startswith("\\\\") else ""
    return host + re.sub(r"\\\\+", r"\\", raw.lstrip("\\") if host else raw)


def _mend_escape(match: re.Match[str]) -> str:
    return {"\\'": "'", '"': '\\"', "\\": "\\\\"}.get(match[0], match[0])


class _Reader:
    """Goes through a text once; `at` is the offset of what comes next."""

    def __init__(self, text: str, origin: str) -> None:
        self.text = text
        self.origin = origin
        self.at = 0
        self.path: list[str | int] = []
        self.last: KeyPath = ()
        self.repairs: list[Repair] = []
        self.offsets: dict[KeyPath, int] = {}
        self.has_odd_blanks = False
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def read_document(self) -> dict[str, Any]:
        if self.text.startswith("\ufeff"):
            self.repair(0, "a byte-order mark stands before the text")
            self.at = 1
        if self.next() != "{":
            raise self.failure("a JSON object, which begins with {")
        self.offsets[()] = self.at
        document = self.read_object()
        if self.next():
            raise self.failure("nothing after the } that ends the object")
        return document

    def place(self, offset: int) -> Place:
        line = bisect_right(self.line_starts, offset)
        return Place(line, offset - self.line_starts[line - 1] + 1)

    def failure(self, expected: str) -> ModelError:
        place = self.place(self.at)
        word = (_REST_OF_LINE if self.text.startswith(("'", '"'), self.at) else _WORD).match(
            self.text, self.at, self.at + 40
        )
        found = word[0] if word else self.text[self.at : self.at + 1]
        found = json.dumps(found, ensure_ascii=False) if found else "the end of the text"
        return ModelError(
            f"{self.origin}: line {place.line}, column {place.column}: expected {expected}, found {found}"
        )

    def repair(self, offset: int, message: str, path: KeyPath | None = None) -> None:
        if len(self.repairs) >= MAX_REPAIRS:
            raise self.failure(f"JSON with at most {MAX_REPAIRS} mistakes")
        place = self.place(offset)
        key = spell(tuple(self.path) if path is None else path)
        self.repairs.append(Repair(place.line, place.column, key, message))

    def next(self) -> str:
        """Skip blanks and comments; return the character there, empty at the end."""
        while True:
            blank = _BLANK.match(self.text, self.at)
            self.at = blank.end() if blank else self.at
            if odd := _ODD_BLANK.match(self.text, self.at):
                if not self.has_odd_blanks:
                    self.repair(self.at, "blanks other than spaces, tabs and line ends")
                self.has_odd_blanks = True
                self.at = odd.end()
            elif self.text.startswith(("//", "/*"), self.at):
                comment = _COMMENT.match(self.text, self.at)
                if comment is None:
                    raise self.failure("a comment that ends with */")
                self.repair(self.at, "a comment was left out")
                self.at = comment.end()
            else:
                return self.text[self.at : self.at + 1]

    def read_value(self, first: str) -> Any:
        if first == "{":
            return self.read_object()
        if first == "[":
            return [self.read_member(index, self.at) for index, _ in enumerate(self.members("]"))]
        return self.read_string() if first in _STRING else self.read_word()

    def read_member(self, key: str | int, offset: int) -> Any:
        self.path.append(key)
        if len(self.path) <= PLACED_DEPTH:
            self.offsets[tuple(self.path)] = offset
        value = self.read_value(self.next())
        self.last = tuple(self.path)
        self.path.pop()
        return value

    def read_object(self) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for first in self.members("}"):
            offset = self.at
            if first not in _STRING:
                raise self.failure("a key in double quotes")
            key = self.read_string()
            if self.next() != ":":
                raise self.failure(f"a colon after the key {spell((key,))}")
            self.at += 1
            if key in document:
                path = (*self.path, key)
                self.repair(offset, f"{spell(path)} stands twice; the last one counts", path)
                del document[key]
            document[key] = self.read_member(key, offset)
        return document

    def members(self, closer: str) -> Iterator[str]:
        """Yield the first character of each member, which the caller then reads; see to brackets and commas."""
        opened = end = self.at
        if len(self.path) >= MAX_DEPTH:
            raise self.failure(f"at most {MAX_DEPTH} levels; nested too deeply")
        self.at += 1
        comma: int | None = None
        is_first = True
        while (first := self.next()) != closer:
            if not first or first in "]}:":
                raise self.failure(f"a comma or the {closer} of line {self.place(opened).line}")
            if first == ",":
                if is_first or comma is not None:
                    self.repair(self.at, "a comma too many")
                comma, self.at = self.at, self.at + 1
                continue
            if not is_first and comma is None:
                if closer == "}" and first not in _STRING:
                    raise self.failure(f"a comma or the }} of line {self.place(opened).line}")
                self.repair(end, f"a comma was missing after {spell(self.last)}", self.last)
            yield first
            comma, is_first, end = None, False, self.at
        if comma is not None and not is_first:
            self.repair(comma, f"a comma too many after {spell(self.last)}", self.last)
        self.at += 1

    def read_word(self) -> Any:
        """Read a number or a literal."""
        match = _WORD.match(self.text, self.at)
        if match is None:
            raise self.failure("a value")
        word, start = match[0], self.at
        if len(word) > MAX_DIGITS:
            raise self.failure(f"a value of at most {MAX_DIGITS} digits")
        number = _NUMBER.fullmatch(word)
        value: float | bool | None
        if word in _WORDS:
            value = _WORDS[word]
        elif number:
            value = float(word) if number["real"] else int(word)
        elif word.lstrip("+-").lower() in _OTHER_WORDS:
            value = _OTHER_WORDS[word.lstrip("+-").lower()]
            self.repair(start, f"{spell(tuple(self.path))}: {word} is not JSON; read as {json.dumps(value)}")
        elif _LOOSE_NUMBER.fullmatch(word):
            value = int(word) if word.lstrip("+-").isdigit() else float(word)
            self.repair(start, f"{spell(tuple(self.path))}: {word} is not a JSON number; read as {value}")
        else:
            raise self.failure("a value")
        if isinstance(value, float) and not math.isfinite(value):
            raise self.failure("a number that a computer can hold")
        self.at = match.end()
        return value

    def read_string(self) -> str:
        start, mark = self.at, self.text[self.at]
        raw = self.raw_string(mark)
        self.at = start + len(raw) + 2
        name = spell(tuple(self.path)) or "a key"
        if mark == "'":
            self.repair(start, f"{name}: single quotes were read as double ones")
        if not _SPECIAL.search(raw) and mark == '"':
            return raw
        if is_bare_path(raw):
            path = _literal_path(raw)
            said = _on_one_line(path)
            self.repair(start, f"{name}: {said} was read as a Windows path, letter by letter; double its backslashes")
            return path
        return self.decoded(raw, start, name)

    def raw_string(self, mark: str) -> str:
        """Return what stands between the quotes; in a Windows path a last backslash does not escape the quote."""
        whole, near = _STRING[mark].match(self.text, self.at), _TO_NEXT_MARK[mark].match(self.text, self.at)
        if near and near[1].endswith("\\") and _PATH_START.match(near[1]):
            is_sure = _has_bare_backslash(near[1][:-1]) and _MEMBER_ENDS.match(self.text, near.end())
            if whole is None or is_sure:
                return near[1]
        if whole is None:
            raise self.failure(f"a string that ends with {mark} on its line")
        return whole[1]

    def decoded(self, raw: str, start: int, name: str) -> str:
        mended = _ESCAPE.sub(_mend_escape, raw)
        if mended != raw and self.text[start] == '"':
            self.repair(start, f"{name}: a backslash that escapes nothing was read as itself")
        if _CONTROL.search(raw):
            self.repair(start, f"{name}: a tab or another control character stands in a string")
        value = str(json.loads(f'"{mended}"', strict=False))
        if not _SURROGATE.search(value):
            return value
        self.repair(start, f"{name}: half a Unicode character was read as \N{REPLACEMENT CHARACTER}")
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)

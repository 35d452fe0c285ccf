"""What is wrong with a document that people wrote, in one line for all of it."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

WATCH_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
ARGUMENT = r"^[^=,;\x00-\x1f]+$"
WEB_ADDRESS = r"^https?://"
IN_WORDS = {
    WATCH_NAME: "expected lower case letters, digits, . _ -, 63 at most, the first one a letter or digit",
    ARGUMENT: "expected a word without = , ; and line breaks",
    WEB_ADDRESS: "expected an address, https://…",
}
"""Patterns of the documents, as they are told."""
KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "constrained-str": "text",
    "dict[str,any]": "an object",
}
"""What a value may be that may be of several kinds, by pydantic's names."""
MOST_TOLD = 10


def complaints(error: ValidationError, place: str, shape: type[BaseModel] | None = None) -> str:
    """Return in a line all that is wrong with a document: where, what was expected there, and what was found.

    Args:
        error: of pydantic.
        place: what the document is called.
        shape: its model, for the names that there are.
    """
    told = list(dict.fromkeys(_told(error.errors(include_url=False), shape)))
    more = (f"and {len(told) - MOST_TOLD} more",) if len(told) > MOST_TOLD else ()
    return f"{place}: {'; '.join((*told[:MOST_TOLD], *more))}"


def _told(errors: Sequence[Mapping[str, Any]], shape: type[BaseModel] | None) -> Iterator[str]:
    kinds: dict[tuple[int | str, ...], list[str]] = {}
    for one in errors:
        *above, last = one["loc"] or ("",)
        if last in KINDS:
            kinds.setdefault(tuple(above), []).append(KINDS[str(last)])
    for one in errors:
        *above, last = one["loc"] or ("",)
        if last in KINDS and len(kinds[tuple(above)]) > 1:
            wanted = ", ".join(dict.fromkeys(kinds[tuple(above)]))
            yield _line(above, f"expected one of: {wanted}{_found(one)}")
        elif one["type"] == "extra_forbidden":
            yield _line(above, _unknown(str(last), _model_at(shape, above)))
        else:
            yield _line(one["loc"], _what(one))


def _what(one: Mapping[str, Any]) -> str:
    if one["type"] == "missing":
        return "expected a value, found none"
    if one["type"] == "value_error":
        return str(one["msg"]).removeprefix("Value error, ")
    if one["type"] == "string_pattern_mismatch":
        pattern = str(one["ctx"]["pattern"])
        return IN_WORDS.get(pattern, f"expected text like {pattern}") + _found(one)
    if one["type"] in ("model_type", "dict_type", "mapping_type"):
        return f"expected an object{_found(one)}"
    if one["type"] in ("tuple_type", "list_type"):
        return f"expected a list{_found(one)}"
    text = str(one["msg"]).replace("Input should be ", "expected ").replace("expected greater", "expected one greater")
    return text.replace("expected less", "expected one less") + _found(one)


def _found(one: Mapping[str, Any]) -> str:
    shown = str(one["input"])[:60]
    return f", found {shown!r}" if isinstance(one["input"], str) else f", found {shown}"


def _line(where: Sequence[int | str], text: str) -> str:
    path = ".".join(str(part) for part in where)
    return f"{path}: {text}" if path else text


def _unknown(name: str, model: type[BaseModel] | None) -> str:
    """Say that there is no such key, and which one is meant."""
    known = sorted(model.model_fields) if model is not None else []
    kind = "option" if model is not None and model.__name__.endswith("Options") else "key"
    close = get_close_matches(name, known, n=1)
    if close:
        return f"there is no {kind} {name[:60]} ({close[0]} is meant?)"
    return f"there is no {kind} {name[:60]}" + (f"; there are: {', '.join(known)}" if known else "")


def _model_at(shape: type[BaseModel] | None, path: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model of what lies at a path in a document, None where it is none."""
    for part in path:
        field = None if shape is None else shape.model_fields.get(str(part))
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        shape = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return shape

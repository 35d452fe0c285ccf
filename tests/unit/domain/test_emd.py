"""Model definitions: what is read, what is kept, and how errors name the place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.emd import Emd, parse_emd
from geodl_core.errors import ModelError

MINIMAL = {"ModelFile": "x.onnx", "ModelType": "ImageClassification"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def parse(**fields: object) -> Emd:
    return parse_emd(json.dumps({**MINIMAL, **fields}), "m.emd")


def test_a_whole_definition() -> None:
    """The keys that geodl acts on are read with their types."""
    emd = parse(
        Framework="ONNX",
        ModelName="trees",
        ImageHeight=256,
        ImageWidth=512,
        ExtractBands=[3, "nir"],
        DataRange=[0, 1],
        IsMultispectral=1,
        Threshold=0.25,
        Classes=[{"Value": 1, "Name": "tree", "Color": [0, 128, 255]}],
        NormalizationStats={
            "band_min_values": [0],
            "band_max_values": [1],
            "scaled_mean_values": [0.5],
            "scaled_std_values": [0.1],
        },
    )
    assert emd.ExtractBands == [3, "nir"]
    assert emd.DataRange == (0, 1)
    assert emd.IsMultispectral is True
    assert (emd.Classes[0].Value, emd.Classes[0].Name, emd.Classes[0].Color) == (1, "tree", (0, 128, 255))
    assert emd.NormalizationStats is not None
    assert emd.NormalizationStats.scaled_std_values == [0.1]


@pytest.mark.parametrize("encode", [str, lambda text: text.encode(), lambda text: text.encode("utf-8-sig")])
def test_text_bytes_and_byte_order_mark(encode: object) -> None:
    """Text, UTF-8 and UTF-8 with a byte-order mark read the same."""
    text = json.dumps({**MINIMAL, "ModelName": "Wälder"}, ensure_ascii=False)
    assert parse_emd(encode(text), "m.emd").ModelName == "Wälder"  # type: ignore[operator]
    assert parse_emd("\ufeff" + text, "m.emd").ModelName == "Wälder"


def test_numbers_as_names() -> None:
    """Numbers where names are wanted become their text."""
    emd = parse(ModelName=7, ModelVersion=1.5, Classes=[{"Value": 1, "Name": 2020}])
    assert (emd.ModelName, emd.ModelVersion, emd.Classes[0].Name) == ("7", "1.5", "2020")


def test_older_spelling_of_classes() -> None:
    """`ClassValue` and `ClassName` read as `Value` and `Name`."""
    entry = parse(Classes=[{"ClassValue": 4, "ClassName": "water"}]).Classes[0]
    assert (entry.Value, entry.Name) == (4, "water")


def test_unknown_keys_are_kept() -> None:
    """Keys that geodl does not know stay in the document and in its classes."""
    emd = parse(LearningRate="1e-4", Nested={"a": [1]}, Classes=[{"Value": 1, "Name": "a", "Wish": "x"}])
    assert emd.model_extra == {"LearningRate": "1e-4", "Nested": {"a": [1]}}
    assert emd.Classes[0].model_extra == {"Wish": "x"}


def test_colours_never_chosen() -> None:
    """The -1 of an export template is read, a colour beyond a byte is not."""
    assert parse(Classes=[{"Value": 1, "Name": "a", "Color": [-1, -1, -1]}]).Classes[0].Color == (-1, -1, -1)
    with pytest.raises(ModelError, match=r"Classes\.0\.Color\.2"):
        parse(Classes=[{"Value": 1, "Name": "a", "Color": [0, 0, 256]}])


def test_placeholders_are_listed() -> None:
    """All values that an export template left to be filled in are named at once."""
    with pytest.raises(ModelError, match=r"ModelFile, ImageHeight") as caught:
        parse_emd(json.dumps({"ModelFile": "e.g. x.onnx", "ImageHeight": "e.g. 256", "Other": "e.g. 1"}), "m.emd")
    assert "Other" not in caught.value.message
    assert caught.value.hint is not None


def test_all_problems_at_once() -> None:
    """Every missing key and every wrong value is named in one message, with what was found."""
    with pytest.raises(ModelError) as caught:
        parse_emd('{"ImageHeight": -1, "Threshold": 2, "Classes": [{"Name": "a"}], "ModelFormat": "HWC"}', "m.emd")
    message = caught.value.message
    assert message.startswith("m.emd: ")
    for part in ("ModelFile is missing", "ModelType is missing", "ImageHeight", "Threshold", "ModelFormat", '"HWC"'):
        assert part in message
    assert "Classes.0" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("", "line 1, column 1"),
        ('{"a": 1} x', "line 1, column 10"),
        ("{'a': 1}", "line 1, column 2"),
    ],
)
def test_broken_json_names_the_place(text: str, place: str) -> None:
    """Text that is not JSON is a ModelError with line and column."""
    with pytest.raises(ModelError, match=place):
        parse_emd(text, "m.emd")


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null", "true"])
def test_other_documents(text: str) -> None:
    """JSON that is no object is a ModelError."""
    with pytest.raises(ModelError, match="expected a JSON object"):
        parse_emd(text, "m.emd")


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00", b'{"a": "\xe4"}', b"\x89PNG\r\n"])
def test_other_bytes(content: bytes) -> None:
    """Bytes that are not UTF-8 are a ModelError."""
    with pytest.raises(ModelError, match="UTF-8"):
        parse_emd(content, "m.emd")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_nested_too_deeply(opening: str, closing: str) -> None:
    """JSON that is nested too deeply is a ModelError, not a crash."""
    text = '{"ModelFile": "x.onnx", "ModelType": "y", "Deep": ' + opening * 100_000 + "1" + closing * 100_000 + "}"
    with pytest.raises(ModelError, match="nested too deeply"):
        parse_emd(text, "m.emd")


@pytest.mark.xfail(strict=True, reason="parse_emd lets ValueError through")
def test_numbers_too_long_to_read() -> None:
    """A number of more digits than Python reads is a ModelError."""
    with pytest.raises(ModelError):
        parse_emd('{"ModelFile": "x.onnx", "ModelType": "y", "Big": ' + "1" * 5000 + "}", "m.emd")


@given(st.dictionaries(st.sampled_from([*Emd.model_fields, "Extra"]), json_values, max_size=8))
def test_any_json_is_read_or_refused(document: dict[str, object]) -> None:
    """Whatever JSON stands in a definition, it is read or a ModelError of one line."""
    try:
        emd = parse_emd(json.dumps(document), "m.emd")
    except ModelError as error:
        assert "\n" not in error.message
    else:
        assert set(emd.model_extra or ()) <= {"Extra"}


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Whatever bytes stand in a definition, it is read or a ModelError."""
    with pytest.raises(ModelError):
        parse_emd(content, "m.emd")

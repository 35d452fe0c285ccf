"""Model definitions: what is read, what is kept, and how errors name the place."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.emd.definition import (
    Emd,
    missing_for_run,
    parse_emd,
    read_emd,
    require_for_run,
    task_of,
    well_known_bands,
)
from geodl_core.domain.emd.write import write_emd
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
    emd = parse(Kwargs="1e-4", Nested={"a": [1]}, Classes=[{"Value": 1, "Name": "a", "Wish": "x"}])
    assert emd.model_extra == {"Kwargs": "1e-4", "Nested": {"a": [1]}}
    assert emd.Classes[0].model_extra == {"Wish": "x"}


def test_colours_never_chosen() -> None:
    """The -1 of an export template is read, a colour beyond a byte is not."""
    assert parse(Classes=[{"Value": 1, "Name": "a", "Color": [-1, -1, -1]}]).Classes[0].Color == (-1, -1, -1)
    with pytest.raises(ModelError, match=r"Classes\[0\]\.Color: expected three whole numbers from 0 to 255"):
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
    for part in ("ImageHeight: expected a whole number above 0, found -1", "Threshold", "ModelFormat", '"HWC"'):
        assert part in message
    assert "the key Classes[0].Value is missing" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("", "line 1, column 1"),
        ('{"a": 1} x', "line 1, column 10"),
        ("{a: 1}", "line 1, column 2"),
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
    with suppress(ModelError):
        parse_emd(content, "m.emd")


def test_problems_name_their_lines() -> None:
    """Every wrong value is named with its line and key, in the order of the text."""
    text = """{
  "ModelFile": "x.onnx",
  "ImageHeight": "abc",
  "Classes": [
    {"Value": 1, "Name": "a"},
    {"Value": "x", "Name": "b"}
  ],
  "MinCellSize": {
    "x": "wide",
    "y": 1
  }
}"""
    with pytest.raises(ModelError) as caught:
        read_emd(text, "net.emd")
    assert caught.value.message == (
        'net.emd: line 3: ImageHeight: expected a whole number above 0, found "abc"; '
        'line 6: Classes[1].Value: expected a whole number, found "x"; '
        'line 9: MinCellSize.x: expected a number, found "wide"'
    )


@pytest.mark.parametrize(
    ("key", "said", "meant"),
    [
        ("ImageHeight", "256", 256),
        ("Threshold", "0.25", 0.25),
        ("ModelType", "ObjectionDetection", "ObjectDetection"),
        ("ModelFormat", "nchw", "NCHW"),
        ("IsMultispectral", "True", True),
        ("ModelName", 7, "7"),
        ("Version", 2019.1, "2019.10"),
        ("ModelFile", "models\net.onnx", "models\\net.onnx"),
    ],
)
def test_quirks_are_mended_and_reported(key: str, said: object, meant: object) -> None:
    """What is written otherwise than documented is read as meant, and said; a strict reading refuses it."""
    text = json.dumps({key: said}, indent=1)
    reading = read_emd(text, "m.emd")
    assert getattr(reading.emd, key) == meant
    assert [(repair.line, repair.key) for repair in reading.repairs] == [(2, key)]
    with pytest.raises(ModelError, match=f"m.emd: line 2: {key}"):
        read_emd(text, "m.emd", is_strict=True)


@pytest.mark.parametrize(
    "document",
    [
        {"CropSizeFixed": 1, "BlackenAroundFeature": False, "fixedTileSize": 0},
        {"LearningRate": "slice('1.0000e-04', '1.0000e-03', None)", "per_class_metrics": '{"a": {"f1": 1}}'},
        {"MinCellSize": {"x": 1e-6, "y": 1e-6, "spatialReference": {"wkid": None}}, "resize_to": None},
        {"Classes": [{"Value": 11, "Name": "a", "Color": [-1, -1, -1]}, {"Value": 2, "Name": "a"}]},
        {"ModelConfiguration": {"Name": "MaskRCNN", "Config": ".\\mrcnn"}, "InferenceFunction": "Custom"},
        {"ExtractBands": ["NearInfrared", 2], "ModelFile": ".\\x.onnx", "ModelType": "ClassifyPixels"},
        {"ModelParameters": {"backbone": "resnet34", "mean": [0.5], "std": [0.2]}, "resize_to": [400, 400]},
        {"InputRastersProps": {"RasterCount": 1, "BandNames": ["Red"]}, "AllTilesStats": [{"Min": 0, "Max": 9}]},
    ],
)
def test_documented_forms_need_no_repair(document: dict[str, object]) -> None:
    """Whatever is documented or usual is read strictly, and written as it came."""
    text = json.dumps(document)
    reading = read_emd(text, "m.emd", is_strict=True)
    assert json.loads(write_emd(reading.emd)) == document


def test_classes_of_the_wild() -> None:
    """Old spellings, text, numbers and colours as text are read; a Value that stands twice is kept and said."""
    classes = [
        {"ClassValue": "1", "ClassName": 2020, "Color": "#ff0010"},
        {"ClassValue": 1, "ClassName": "b", "Color": ["0", "128", "255"]},
    ]
    reading = read_emd(json.dumps({"Classes": classes}), "m.emd")
    found = [(entry.Value, entry.Name, entry.Color) for entry in reading.emd.Classes]
    assert found == [(1, "2020", (255, 0, 16)), (1, "b", (0, 128, 255))]
    messages = [repair.message for repair in reading.repairs]
    assert "Classes[1].Value: 1 stands already in Classes[0]" in messages
    assert "Classes: ClassValue was read as Value (2 times)" in messages


def test_keys_within_the_configuration() -> None:
    """What third parties put into `ModelConfiguration` counts where the key itself is absent; errors find its line."""
    nested = '{"ModelType": "ObjectDetection",\n"ImageHeight": 32, "ImageWidth": 1}'
    text = f'{{"ImageWidth": 64, "ModelConfiguration": {nested}}}'
    emd = read_emd(text, "m.emd").emd
    assert (emd.ModelType, emd.ImageHeight, emd.ImageWidth) == ("ObjectDetection", 32, 64)
    with pytest.raises(ModelError, match="line 2: ImageHeight"):
        read_emd(text.replace("32", "-1"), "m.emd")


def test_templates_are_readable() -> None:
    """An export template is read for inspection, its placeholders listed; only needed ones keep it from running."""
    template = {**MINIMAL, "Framework": "e.g. TensorFlow", "Description": "e.g. a model", "ImageHeight": "e.g. 256"}
    reading = read_emd(json.dumps(template), "m.emd")
    assert reading.placeholders == {key: template[key] for key in ("Framework", "ImageHeight", "Description")}
    assert (reading.emd.Framework, reading.emd.ImageHeight) == (None, None)
    with pytest.raises(ModelError, match="Framework, ImageHeight, Description"):
        parse_emd(json.dumps(template), "m.emd")
    assert parse_emd(json.dumps({**template, "ImageHeight": 256}), "m.emd").ImageHeight == 256


def test_what_a_run_needs() -> None:
    """A definition without file, type or classes is readable; all that a run lacks is named at once."""
    emd = read_emd('{"InferenceFunction": "TextSAM.py"}', "m.emd").emd
    assert missing_for_run(emd) == ("ModelFile", "ModelType", "Classes")
    with pytest.raises(ModelError, match=r"ModelFile is missing.*ModelType is missing.*Classes is missing"):
        require_for_run(emd)
    require_for_run(parse(Classes=[{"Value": 1, "Name": "a"}]))


def test_tasks() -> None:
    """ModelType is kept as said; its task has the documented spelling."""
    emd = parse(ModelType="classifypixels")
    assert (emd.ModelType, task_of(emd)) == ("classifypixels", "ImageClassification")
    assert task_of(parse(ModelType="Sound")) == "Sound"
    assert task_of(Emd()) is None


def test_well_known_bands() -> None:
    """The list of band names is found although its key holds an explanation."""
    assert well_known_bands(parse(**{"WellKnownBandNames (for ExtractBands)": ["Red", "QA"]})) == ("Red", "QA")
    assert well_known_bands(parse()) == ()


def test_order_of_the_text() -> None:
    """Documented keys are written first, in the order of the documentation; the others follow as they came."""
    emd = parse(Zebra=1, Threshold=0.5, Ant=2, Framework="Onnx", CropSizeFixed=True)
    written = json.loads(write_emd(emd))
    assert list(written) == ["Framework", "ModelFile", "ModelType", "Threshold", "CropSizeFixed", "Zebra", "Ant"]
    assert written["CropSizeFixed"] == 1


def test_what_json_cannot_say() -> None:
    """A NaN among the unknown keys is a ModelError."""
    with pytest.raises(ModelError, match="JSON"):
        write_emd(Emd.model_validate({"Odd": float("nan")}))


names = st.text(max_size=12) | st.sampled_from(["C:\\a\nb", "\\\\server\\x", ".\\t\t.onnx", "//", "it's"])
finite = st.floats(allow_nan=False, allow_infinity=False)
extras = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | finite | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
files = names.filter(lambda name: not any(character < " " for character in name))
class_entries = st.builds(
    dict, Value=st.integers(-5, 300), Name=names, Color=st.none() | st.tuples(*[st.integers(0, 255)] * 3), Wish=extras
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "Framework": names,
        "ModelConfiguration": names | st.fixed_dictionaries({"Name": names}),
        "ModelFile": files,
        "ImageHeight": st.integers(1, 9999),
        "ExtractBands": st.lists(st.integers(0, 12) | names, max_size=4),
        "Classes": st.lists(class_entries, max_size=4, unique_by=lambda entry: entry["Value"]),
        "DataRange": st.tuples(finite, finite),
        "Threshold": st.floats(0, 1),
        "fixedTileSize": st.booleans(),
        "IsMultispectral": st.booleans(),
        "ModelParameters": st.fixed_dictionaries({"mean": st.lists(finite, max_size=3), "Odd": extras}),
        "MinCellSize": st.fixed_dictionaries({"x": finite, "y": finite, "spatialReference": st.none()}),
        "LearningRate": names | finite,
        "Extra": extras,
        "C:\\key": extras,
    },
).filter(lambda document: not any(str(value).startswith("e.g. ") for value in document.values()))


@given(documents)
def test_written_then_read(document: dict[str, object]) -> None:
    """A definition that is written and read again is the same, without any repair."""
    emd = Emd.model_validate(document)
    reading = read_emd(write_emd(emd), "m.emd", is_strict=True)
    assert reading.emd == emd
    assert reading.emd.model_fields_set == emd.model_fields_set
    assert write_emd(reading.emd) == write_emd(emd)


@given(documents)
def test_as_plain_values(document: dict[str, object]) -> None:
    """A definition turns into JSON's own values without a warning, and these mean the same."""
    emd = Emd.model_validate(document)
    assert Emd.model_validate(emd.model_dump(mode="json", exclude_unset=True)) == emd

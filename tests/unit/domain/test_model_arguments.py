"""Arguments of a model: what is offered, how a choice is written, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.model.arguments import arguments_of, describe_argument, read_arguments, split_arguments
from geodl_core.domain.model.model import Model, make_model
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.network.reach import Reach
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.tiling import choose_tile
from geodl_core.errors import InputError

Shape = tuple[int | None, ...]
OPEN: Shape = (None, 2, None, None)


def model_of(
    source: Shape = OPEN, result: Shape = (None, 3, None, None), reach: Reach | None = None, **fields: object
) -> Model:
    classes = [{"Value": value, "Name": str(value)} for value in range(2 if result[1] == 1 else 3)]
    document = {
        "ModelFile": "x.onnx",
        "ModelType": "ImageClassification",
        "Classes": classes,
        "ExtractBands": [0, 1],
        "ImageHeight": 256,
        "ImageWidth": 256,
        "Padding": 32,
        **fields,
    }
    graph = Graph((Tensor("x", "float32", source),), (Tensor("y", "float32", result),), ("Sigmoid",), 17, "ab")
    known = {key: value for key, value in document.items() if value is not None}
    return make_model(parse_emd(json.dumps(known), "m.emd"), graph, "m", reach)


ANY = model_of()
MASK = model_of(result=(None, 1, None, None), Threshold=0.3)
FIXED = model_of((1, 2, 256, 256), (1, 3, 256, 256))
CROPPING = model_of((None, 2, 256, 256), (None, 3, 192, 192), ModelPadding=32, Padding=None)
CLASS_MAP = replace(ANY, output="class map")
OF_SCORES = ["test_time_augmentation", "merge_policy", "predict_background", "return_probability_raster"]
OF_MASKS = [name for name in OF_SCORES if name != "predict_background"]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (ANY, ["padding", "tile_size", "batch_size", *OF_SCORES]),
        (MASK, ["padding", "tile_size", "batch_size", "threshold", *OF_MASKS]),
        (FIXED, ["padding", *OF_SCORES]),
        (CROPPING, ["batch_size", *OF_SCORES]),
        (CLASS_MAP, ["padding", "tile_size", "batch_size"]),
        (replace(FIXED, halo=CROPPING.halo, output="class map"), []),
        (replace(ANY, classes=ANY.classes[1:]), ["padding", "tile_size", "batch_size", *OF_MASKS]),
    ],
)
def test_what_a_model_offers(model: Model, names: list[str]) -> None:
    """A model offers what can be chosen of it: no halo where it crops, no size and batch where they are fixed."""
    assert [argument.name for argument in arguments_of(model)] == names


def test_defaults_and_domains() -> None:
    """Each argument tells its default and its domain."""
    found = {argument.name: (argument.default, argument.low, argument.high) for argument in arguments_of(MASK)}
    assert found["padding"] == (32, 0, 16384)
    assert found["tile_size"] == (256, 1, 16384)
    assert found["batch_size"] == (1, 1, 256)
    assert found["threshold"] == (0.3, 0, 1)
    lines = [describe_argument(argument) for argument in arguments_of(MASK)]
    assert "padding  a whole number from 0 to 16384, default 32: " in lines[0]
    assert "default from Padding" in lines[0]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("radius", "bytes_per_px", "side"),
    [(51, 384.0, 1128), (22, 2312.0, 300), (400, 1.0, 4896), (4000, 400.0, 256)],
)
def test_the_default_tile_is_what_a_run_takes(radius: int, bytes_per_px: float, side: int) -> None:
    """The default is the tile that planning chooses; where none fits the memory, the definition's stands there."""
    bounded = replace(model_of(Padding=None, reach=Reach(radius, 2, False, "graph", ())), bytes_per_px=bytes_per_px)
    found = {argument.name: argument for argument in arguments_of(bounded)}
    assert found["tile_size"].default == side
    assert found["tile_size"].default <= found["tile_size"].high


@pytest.mark.parametrize("model", [ANY, MASK, replace(ANY, is_bounded=True)])
def test_the_default_tile_may_be_given(model: Model) -> None:
    """Giving the default size lays the tiles as they are laid without."""
    side = next(argument.default for argument in arguments_of(model) if argument.name == "tile_size")
    assert choose_tile(model, Arguments(tile_size_px=int(side))) == choose_tile(model, Arguments())


SMALL = [
    model_of(ImageHeight=64, ImageWidth=64, Padding=40),
    model_of(ImageHeight=64, ImageWidth=64, Padding=None, reach=Reach(90, 16, False, "graph", ())),
    model_of(ImageHeight=16, ImageWidth=16, Padding=0),
    model_of(ImageHeight=20000, ImageWidth=20000),
]


@pytest.mark.parametrize(
    "model",
    [
        ANY,
        MASK,
        FIXED,
        CROPPING,
        *(pytest.param(model) for model in SMALL),
    ],
)
def test_defaults_may_be_given(model: Model) -> None:
    """Whatever the default is, giving it is allowed."""
    given_ = {argument.name: str(argument.default) for argument in arguments_of(model)}
    assert read_arguments(model, given_) == {argument.name: argument.default for argument in arguments_of(model)}


def test_a_larger_tile_takes_more_padding() -> None:
    """Padding that fits the tile asked for is allowed."""
    assert read_arguments(ANY, {"tile_size": "1024", "padding": "200"}) == {"tile_size": 1024, "padding": 200}


@pytest.mark.parametrize(
    "texts",
    [
        ["padding=56", "batch_size=4"],
        ["padding 56;batch_size 4"],
        ["padding  56 ; batch_size   4;"],
        ["padding = 56; batch_size=4"],
        [" padding 56 ", ";", "", "batch_size 4"],
        ["padding 1;batch_size 4", "padding=56"],
    ],
)
def test_both_ways_to_write_them(texts: list[str]) -> None:
    """`name=value` and ArcGIS's `name value;name value` mean the same; the last of several counts."""
    assert split_arguments(texts) == {"padding": "56", "batch_size": "4"}
    assert read_arguments(ANY, split_arguments(texts)) == {"padding": 56, "batch_size": 4}


@pytest.mark.parametrize("text", ["padding", "padding=", "=56", " = ", "padding=56;threshold", "padding;56"])
def test_texts_that_are_neither(text: str) -> None:
    """A text without a name or a value is an InputError that shows it and says the form."""
    with pytest.raises(InputError, match="expected NAME=VALUE") as caught:
        split_arguments([text])
    assert caught.value.hint is not None


names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)


@given(st.dictionaries(names, st.integers(-99, 99) | st.floats(-1, 1), max_size=5), st.booleans())
def test_written_then_split(pairs: dict[str, float], is_arcgis: bool) -> None:
    """Names and values come back from either form."""
    texts = [";".join(f"{name} {value}" for name, value in pairs.items())]
    given_ = split_arguments(texts if is_arcgis else [f"{name}={value}" for name, value in pairs.items()])
    assert {name: float(value) for name, value in given_.items()} == pairs


def test_all_problems_at_once() -> None:
    """Unknown names and values outside the domain are all said at once, with what is known and where to look."""
    given_ = {"tta": "1", "padding": "-1", "threshold": "1.5", "batch_size": "4", "blend": "x", "tile_size": "12.5"}
    with pytest.raises(InputError) as caught:
        read_arguments(MASK, given_)
    message = caught.value.message
    for part in (
        "tta: the model m has no such argument, only padding, tile_size, batch_size, threshold",
        "blend: the model m has no such argument",
        "padding: expected a whole number from 0 to 16384, found -1",
        "threshold: expected a number from 0 to 1, found 1.5",
        "tile_size: expected a whole number from 1 to 16384, found 12.5",
    ):
        assert part in message
    assert "batch_size:" not in message
    assert caught.value.hint == "geodl run --help-model MODEL lists them"


@given(st.sampled_from(["padding", "tile_size", "batch_size", "threshold"]), st.text(max_size=6) | st.floats().map(str))
def test_any_value_is_read_or_refused(name: str, text: str) -> None:
    """Whatever is given, it is a number of its domain or an InputError."""
    argument = next(argument for argument in arguments_of(MASK) if argument.name == name)
    try:
        value = read_arguments(MASK, {name: text})[name]
    except InputError as error:
        assert name in error.message
    else:
        assert argument.low <= value <= argument.high
        assert argument.kind == "number" or value == int(value)


def test_nothing_given() -> None:
    """Without arguments nothing is chosen."""
    assert read_arguments(ANY, split_arguments([])) == {}


def test_defaults_of_scores() -> None:
    """The model's own wish for augmentation is the default; each line tells what may be chosen."""
    found = {argument.name: argument for argument in arguments_of(ANY)}
    assert [found[name].default for name in OF_SCORES] == [False, "mean", True, "false"]
    wishing = {argument.name: argument for argument in arguments_of(replace(ANY, is_augmented=True))}
    assert wishing["test_time_augmentation"].default is True
    lines = {name: describe_argument(found[name]) for name in OF_SCORES}
    assert lines["test_time_augmentation"].startswith("test_time_augmentation  true or false, default false: ")
    assert lines["merge_policy"].startswith("merge_policy  one of mean, max, min, default mean: ")
    assert lines["predict_background"].startswith("predict_background  true or false, default true: ")
    expected = "return_probability_raster  one of false, true, uint8, float32, default false: "
    assert lines["return_probability_raster"].startswith(expected)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("YES", True), ("1", True), ("false", False), ("False", False), ("0", False)],
)
def test_flags(text: str, value: bool) -> None:
    """Truth values may be written as people and ArcGIS write them."""
    found = read_arguments(ANY, split_arguments([f"test_time_augmentation {text};predict_background={text}"]))
    assert found == {"test_time_augmentation": value, "predict_background": value}


@pytest.mark.parametrize("text", ["mean", "MAX", "Min"])
def test_choices(text: str) -> None:
    """A choice is read in any case."""
    assert read_arguments(ANY, {"merge_policy": text}) == {"merge_policy": text.lower()}
    assert read_arguments(ANY, {"return_probability_raster": "True"}) == {"return_probability_raster": "true"}


def test_flags_and_choices_that_are_none() -> None:
    """Other texts are refused, each with what is expected."""
    given_ = {"test_time_augmentation": "2", "merge_policy": "median", "return_probability_raster": "int8"}
    with pytest.raises(InputError) as caught:
        read_arguments(ANY, given_)
    for part in (
        "test_time_augmentation: expected true or false, found 2",
        "merge_policy: expected one of mean, max, min, found median",
        "return_probability_raster: expected one of false, true, uint8, float32, found int8",
    ):
        assert part in caught.value.message


@given(st.sampled_from(OF_SCORES), st.text(max_size=6) | st.sampled_from(["true", "0", "mean", "uint8"]))
def test_any_flag_or_choice_is_read_or_refused(name: str, text: str) -> None:
    """Whatever is given, it is a value of the argument's domain or an InputError that names it."""
    argument = next(argument for argument in arguments_of(ANY) if argument.name == name)
    try:
        value = read_arguments(ANY, {name: text})[name]
    except InputError as error:
        assert name in error.message
    else:
        assert isinstance(value, bool) if argument.kind == "flag" else value in argument.choices

"""Models: what a definition and a graph say together."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest

from geodl_core.domain.emd.definition import Emd, parse_emd
from geodl_core.domain.model.classes import BACKGROUND
from geodl_core.domain.model.model import Model, make_model
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import ModelError

Shape = tuple[int | None, ...]
CLASSES = [{"Value": value, "Name": name} for value, name in enumerate(("water", "forest", "town"))]


def graph_of(source: Shape, result: Shape, kind: str = "float32", **fields: object) -> Graph:
    values = {"inputs": (Tensor("x", "float32", source),), "outputs": (Tensor("y", kind, result),), **fields}
    values.setdefault("activations", ("Sigmoid",) * len(values["outputs"]))  # type: ignore[arg-type]
    return Graph(opset=17, digest="ab" * 32, **values)  # type: ignore[arg-type]


def emd_of(**fields: object) -> Emd:
    base = {"ModelFile": "x.onnx", "ModelType": "ImageClassification", "Classes": CLASSES, "ImageHeight": 64}
    document = {**base, "ImageWidth": 64, "ExtractBands": [0, 1], "Padding": 8, **fields}
    return parse_emd(json.dumps({key: value for key, value in document.items() if value is not None}), "m.emd")


def model_of(source: Shape = (None, 2, None, None), result: Shape = (None, 3, None, None), **fields: object) -> Model:
    kind = str(fields.pop("kind", "float32"))
    return make_model(emd_of(**fields), graph_of(source, result, kind), "my model")


def classes_of(*values: int) -> list[dict[str, object]]:
    return [{"Value": value, "Name": f"c{value}"} for value in values]


def test_scores_channels_first() -> None:
    """A network of float scores with open sizes is read as NCHW scores of any size."""
    model = model_of()
    assert (model.layout, model.output, model.bands) == ("NCHW", "scores", (0, 1))
    assert (model.chip_px, model.is_size_fixed, model.batch) == ((64, 64), False, None)
    assert (model.halo.px, model.halo.origin, model.halo.is_cropping) == (8, "Padding", False)
    assert model.indices_to_ids == (0, 1, 2)
    assert model.threshold == 0.5
    assert (model.name, model.notes) == ("my-model", ())


def test_scores_channels_last() -> None:
    """Where only the last size fits the bands the network is NHWC; `ModelFormat` overrules."""
    model = model_of((1, 64, 96, 2), (1, 64, 96, 3), ImageWidth=None)
    assert (model.layout, model.output, model.chip_px, model.is_size_fixed) == ("NHWC", "scores", (64, 96), True)
    assert model.batch == 1
    both = model_of((1, 2, 64, 2), (1, 3, 64, 2), ImageWidth=None)
    assert both.layout == "NCHW"
    said = model_of((None, None, None, None), (None, None, None, 3), ModelFormat="NHWC")
    assert (said.layout, said.indices_to_ids) == ("NHWC", (0, 1, 2))


@pytest.mark.parametrize("shape", [(None, 1, None, None), (None, None, None), (1, 64, 64, 1)])
def test_masks(shape: Shape) -> None:
    """One float channel, or none, is a mask of two classes with a threshold."""
    layout = {"ModelFormat": "NHWC"} if shape[-1] == 1 else {}
    source = (1, 64, 64, 2) if layout else (None, 2, None, None)
    model = model_of(source, shape, Classes=classes_of(0, 5), Threshold=0.3, **layout)
    assert (model.output, model.indices_to_ids, model.threshold) == ("mask", (0, 5), 0.3)


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("shape", [(None, 1, None, None), (None, None, None)])
def test_class_maps(kind: str, shape: Shape) -> None:
    """A network of integers writes class values itself, whatever their number."""
    model = model_of((None, 2, None, None), shape, kind=kind, Classes=classes_of(3, 9))
    assert (model.output, model.indices_to_ids) == ("class map", (3, 9))


@pytest.mark.parametrize(
    ("channels", "values", "ids"),
    [
        (3, (0, 1, 2), (0, 1, 2)),
        (3, (2, 0, 1), (0, 1, 2)),
        (3, (0, 1, 2, 9), (0, 1, 2)),
        (3, (10, 20, 30), (10, 20, 30)),
        (3, (1, 2, 3), (1, 2, 3)),
        (3, (1, 2), (0, 1, 2)),
        (3, (2, 1), (0, 1, 2)),
        (3, (10, 20), (0, 10, 20)),
        (None, (4, 7), (4, 7)),
    ],
)
def test_class_mapping(channels: int | None, values: tuple[int, ...], ids: tuple[int, ...]) -> None:
    """An index is the class of that Value, else of that position, else background comes first."""
    model = model_of(result=(None, channels, None, None), Classes=classes_of(*values))
    assert model.indices_to_ids == ids
    assert set(ids) <= {entry.value for entry in model.classes}
    has_background = channels == len(values) + 1
    assert (model.classes[0] == BACKGROUND) == has_background
    assert bool(model.notes) == (has_background or (values[0] > 0 and ids == values))


@pytest.mark.parametrize(
    ("channels", "classes", "said"),
    [
        (5, classes_of(0, 1), "5 classes apart, but Classes has 2"),
        (3, classes_of(0, 5), "3 classes apart"),
        (3, classes_of(0, 1, 1), r"\[1\] more than once"),
        (3, [], "Classes is missing or empty"),
    ],
)
def test_classes_that_do_not_fit(channels: int, classes: list[object], said: str) -> None:
    """Classes that do not fit the network are a ModelError that names both."""
    with pytest.raises(ModelError, match=said):
        model_of(result=(None, channels, None, None), Classes=classes)


def test_colours() -> None:
    """A class without a colour, or with one never chosen, gets one; the others keep theirs."""
    classes = [
        {"Value": 0, "Name": "a", "Color": [1, 2, 3]},
        {"Value": 1, "Name": "b", "Color": [-1, -1, -1]},
        {"Value": 2, "Name": "c"},
    ]
    colours = [entry.color for entry in model_of(Classes=classes).classes]
    assert colours[0] == (1, 2, 3)
    assert len(set(colours)) == 3
    assert min(min(colour) for colour in colours) >= 0


def test_channel_mismatch_names_both() -> None:
    """Bands and channels that differ in number are both in the message."""
    with pytest.raises(ModelError, match=r"ExtractBands names 3 bands .* takes 2 channels"):
        model_of(ExtractBands=[0, 1, 2])


def test_bands_from_the_graph() -> None:
    """Without ExtractBands the bands are those that the network takes, in order; open channels are refused."""
    assert model_of((1, 4, 64, 64), (1, 3, 64, 64), ExtractBands=None).bands == (0, 1, 2, 3)
    with pytest.raises(ModelError, match="ExtractBands is missing"):
        model_of((None, None, None, None), ExtractBands=None)


def test_model_padding() -> None:
    """`ModelPadding` that fits the lost border is a halo that the network cuts off itself."""
    model = model_of((1, 2, 64, 64), (1, 3, 48, 48), ModelPadding=8)
    assert (model.halo.px, model.halo.origin, model.halo.is_cropping) == (8, "ModelPadding", True)
    assert model_of(ModelPadding=8).halo.is_cropping


@pytest.mark.parametrize(
    ("result", "padding", "said"),
    [
        ((1, 3, 48, 48), 4, "ModelPadding is 4, so a tile of 64 × 64 should give 56 × 56, but it gives 48 × 48"),
        ((1, 3, 64, 64), 8, "should give 48 × 48, but it gives 64 × 64"),
        ((1, 3, 48, 56), 8, "should give 48 × 48, but it gives 48 × 56"),
        ((1, 3, 48, 56), None, "does not fit the input"),
        ((1, 3, 49, 49), 0, "does not fit the input"),
        ((1, 3, 32, 16), None, "does not fit the input"),
        ((1, 3, 128, 128), None, "does not fit the input"),
    ],
)
def test_padding_that_does_not_fit(result: Shape, padding: int | None, said: str) -> None:
    """A loss that differs between rows and columns or between two sides, or from `ModelPadding`, is a ModelError."""
    with pytest.raises(ModelError, match=said):
        model_of((1, 2, 64, 64), result, ModelPadding=padding)


def test_halo_where_nothing_is_said() -> None:
    """Without padding the halo is a quarter of the chip, in steps of the usual stride."""
    assert model_of(Padding=None, ImageHeight=400, ImageWidth=300).halo.px == 64
    assert model_of(Padding=0).halo.px == 0


def test_sizes() -> None:
    """A fixed size comes from the graph, an open one from the definition, else it is usual and noted."""
    assert model_of((1, 2, 96, 80), (1, 3, 96, 80), ImageHeight=None, ImageWidth=None).chip_px == (96, 80)
    usual = model_of(ImageHeight=None, ImageWidth=None)
    assert usual.chip_px == (512, 512)
    assert len(usual.notes) == 2
    with pytest.raises(ModelError, match=r"ImageWidth is 64, but the ONNX input .* takes only 80"):
        model_of((1, 2, 64, 80), (1, 3, 64, 80))


@pytest.mark.parametrize("kind", ["ObjectDetection", "", "ImageClassifier"])
def test_other_kinds_of_models(kind: str) -> None:
    """Another kind of model is refused by its name."""
    with pytest.raises(ModelError, match=f"found {kind}"):
        model_of(ModelType=kind)


@pytest.mark.parametrize("tensors", [(), ("a", "b")])
def test_graphs_with_other_inputs(tensors: tuple[str, ...]) -> None:
    """A graph without just one image as input is refused."""
    inputs = tuple(Tensor(name, "float32", (1, 2, 64, 64)) for name in tensors)
    graph = graph_of((), (1, 3, 64, 64), inputs=inputs)
    with pytest.raises(ModelError, match="expected one input of four dimensions"):
        make_model(emd_of(), graph, "m")


def test_graphs_without_a_map() -> None:
    """A graph whose outputs are no maps is refused; of several outputs the first map counts."""
    vector = Tensor("v", "float32", (1, 3))
    with pytest.raises(ModelError, match="output of three or four dimensions"):
        make_model(emd_of(), graph_of((None, 2, None, None), (), outputs=(vector,)), "m")
    both = (vector, Tensor("y", "float32", (None, 3, None, None)))
    assert make_model(emd_of(), graph_of((None, 2, None, None), (), outputs=both), "m").result.name == "y"


STATS = {"band_min_values": [0, 1], "band_max_values": [2, 3], "scaled_mean_values": [0.4, 0.5]}


def test_scaling() -> None:
    """Statistics of each band overrule the data range."""
    assert model_of(DataRange=[0, 1]).scaling.data_range == (0, 1)
    scaling = model_of(DataRange=[0, 1], NormalizationStats={**STATS, "scaled_std_values": [0.1, 0.2]}).scaling
    assert (scaling.data_range, scaling.minimum, scaling.std) == (None, (0, 1), (0.1, 0.2))


@pytest.mark.parametrize("changes", [{"scaled_std_values": [0.1]}, {"scaled_std_values": [0.1, 0]}])
def test_scaling_that_does_not_fit(changes: dict[str, object]) -> None:
    """Statistics of another number of bands, or that divide by zero, are a ModelError."""
    with pytest.raises(ModelError, match="NormalizationStats"):
        model_of(NormalizationStats={**STATS, **changes})


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}),
        pytest.param({"NormalizationStats": {key: [] for key in [*STATS, "scaled_std_values"]}}),
    ],
)
def test_no_bands(fields: dict[str, object]) -> None:
    """An empty ExtractBands is a ModelError where the graph leaves its channels open too."""
    with pytest.raises(ModelError):
        model_of((None, None, None, None), ExtractBands=[], **fields)


def test_digest_is_of_the_meaning() -> None:
    """Key order and spacing of the definition do not change a model's digest."""
    document = {"ModelFile": "x.onnx", "ModelType": "ImageClassification", "Classes": CLASSES, "ExtractBands": [0, 1]}
    turned = dict(reversed(document.items()))
    graph = graph_of((None, 2, None, None), (None, 3, None, None))
    texts = [json.dumps(document), json.dumps(turned), json.dumps(document, indent=4), "\ufeff" + json.dumps(document)]
    assert len({make_model(parse_emd(text, "m"), graph, "m").digest for text in texts}) == 1


def test_digest_is_of_the_content() -> None:
    """Any other value, extra key or graph changes a model's digest."""
    graph = graph_of((None, 2, None, None), (None, 3, None, None))
    emds = [emd_of(), emd_of(Threshold=0.4), emd_of(Extra=1), emd_of(Extra=2), emd_of(Padding=9)]
    digests = {make_model(emd, graph, "m").digest for emd in emds}
    assert len(digests) == len(emds)
    assert make_model(emd_of(), replace(graph, digest="cd" * 32), "m").digest not in digests


def test_digest_of_deep_extras() -> None:
    """Extras nested as deeply as JSON is read have a digest too, or are a ModelError."""
    deep: object = 1
    for _ in range(400):
        deep = [deep]
    with suppress(ModelError):
        model_of(Deep=deep)


def test_all_that_disagrees_is_said_at_once() -> None:
    """Bands, size, classes and scaling that do not fit the graph come in one error."""
    classes = [{"Value": value, "Name": "x"} for value in (5, 6, 7, 8, 9)]
    with pytest.raises(ModelError) as caught:
        model_of(
            (1, 2, 64, 64), (1, 3, 64, 64), ExtractBands=[0, 1, 2], ImageHeight=32, Classes=classes, DataRange=[1, 1]
        )
    for part in ("3 bands", "ImageHeight is 32", "3 classes", "DataRange"):
        assert part in caught.value.message

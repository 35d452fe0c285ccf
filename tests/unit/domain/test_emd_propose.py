"""Proposed definitions: what the graph tells, what its user says, what is asked; and each of them serves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.emd.definition import Emd, read_emd
from geodl_core.domain.emd.propose import guess_layout, propose_emd
from geodl_core.domain.emd.write import write_emd
from geodl_core.domain.model.model import make_model
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.network.reach import Reach
from geodl_core.errors import ModelError

Shape = tuple[int | None, ...]
KEYS = list(Emd.model_fields)


def graph_of(source: Shape, result: Shape, kind: str = "float32") -> Graph:
    return Graph((Tensor("x", "float32", source),), (Tensor("y", kind, result),), ("Softmax",), 17, "ab")


ANY = graph_of((None, 4, None, None), (None, 3, None, None))


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((None, 3, None, None), "NCHW"),
        ((1, 3, 512, 512), "NCHW"),
        ((None, 13, 64, 64), "NCHW"),
        ((None, None, None, 3), "NHWC"),
        ((1, 512, 512, 3), "NHWC"),
        ((None, 256, 256, 12), "NHWC"),
        ((None, None, None, None), "NCHW"),
        ((1, 3, 224, 3), "NCHW"),
        *(pytest.param(shape, "NHWC") for shape in ((1, 64, 64, 3), (None, 32, 32, 4))),
    ],
)
def test_layouts(shape: Shape, layout: str) -> None:
    """The channels are on the axis whose size is that of an image's bands; the first where both or none are."""
    assert guess_layout(Tensor("x", "float32", shape)) == layout


def test_what_is_proposed() -> None:
    """Size, bands, classes, padding and layout follow from the graph and its reach, in the documented order."""
    graph = graph_of((None, 256, 320, 4), (None, 256, 320, 3))
    document = propose_emd(graph, "net.onnx", Reach(30, 16, False, "graph", ()), {}).document
    assert (document["ModelFile"], document["ModelName"], document["ModelFormat"]) == ("net.onnx", "net", "NHWC")
    assert (document["ImageHeight"], document["ImageWidth"]) == (256, 320)
    assert document["ExtractBands"] == [0, 1, 2, 3]
    assert [entry["Value"] for entry in document["Classes"]] == [0, 1, 2]
    assert document["Padding"] == 32
    assert document["SupportsVariableTileSize"] is False
    known = [key for key in document if key in KEYS]
    assert known[:8] == sorted(known[:8], key=KEYS.index)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_cropping_becomes_model_padding(layout: str) -> None:
    """A border that the network leaves off becomes `ModelPadding`, even where its reach is known."""
    before, after = ((1, 3, 572, 572), (1, 2, 388, 388)) if layout == "NCHW" else ((1, 572, 572, 3), (1, 388, 388, 2))
    proposal = propose_emd(graph_of(before, after), "net.onnx", Reach(92, 16, False, "graph", ()), {})
    assert proposal.document["ModelPadding"] == 92
    assert "Padding" not in proposal.document
    assert not any("padding" in question for question in proposal.open_questions)


def test_coarser_is_not_cropped() -> None:
    """A result of a whole fraction of the image's size is coarser, which is no `ModelPadding`."""
    document = propose_emd(graph_of((1, 3, 512, 512), (1, 2, 128, 128)), "net.onnx", None, {}).document
    assert "ModelPadding" not in document


def asked(reach: Reach | None = None, graph: Graph = ANY, **said: object) -> set[str]:
    return {question.partition(":")[0] for question in propose_emd(graph, "net.onnx", reach, said).open_questions}


def test_what_is_said_is_not_asked() -> None:
    """Each thing that the graph cannot tell is asked, until it is said."""
    classes = [{"Value": 1, "Name": "a"}, {"Value": 2, "Name": "b"}, {"Value": 3, "Name": "c"}]
    assert asked() == {"bands", "classes", "padding", "values"}
    assert asked(Reach(4, 1, False, "graph", ())) == {"bands", "classes", "values"}
    assert asked(Reach(None, 1, True, "graph", ())) == {"bands", "classes", "values"}
    assert asked(ExtractBands=["a", "b", "c", "d"]) == {"classes", "padding", "values"}
    assert asked(Classes=classes) == {"bands", "padding", "values"}
    assert asked(DataRange=[0, 1]) == {"bands", "classes", "padding"}


def test_padding_that_is_said_is_not_asked() -> None:
    """Padding that its user gave is no open question."""
    assert asked(Padding=8) == {"bands", "classes", "values"}


def test_what_is_said_stands_above_what_is_guessed() -> None:
    """Keys that the user gives are taken as they are, known to the graph or not."""
    said = {"Padding": 8, "ModelName": "Roads", "ImageHeight": 99, "Threshold": 0.3, "ExtractBands": [3, 2, 1, 0]}
    document = propose_emd(ANY, "net.onnx", Reach(30, 16, False, "graph", ()), said).document
    assert {key: document[key] for key in said} == said


def test_open_channels_need_bands() -> None:
    """A graph that leaves its channels open is a ModelError that names the option, until the bands are said."""
    graph = graph_of((None, None, None, None), (None, 2, None, None))
    with pytest.raises(ModelError, match="channels open") as caught:
        propose_emd(graph, "net.onnx", None, {})
    assert "--bands" in (caught.value.hint or "")
    assert propose_emd(graph, "net.onnx", None, {"ExtractBands": ["a"]}).document["ExtractBands"] == ["a"]


def test_graphs_without_an_image() -> None:
    """A graph that takes or gives no image is a ModelError."""
    for source, result in (((1, 3), (1, 2, 64, 64)), ((1, 3, 64, 64), (1, 2))):
        with pytest.raises(ModelError, match=r"expected one input|expected an output"):
            propose_emd(graph_of(source, result), "net.onnx", None, {})


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Networks for pixels of any layout, size, kind of answer, cropping and coarsening."""
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    channels, classes = draw(st.integers(1, 16)), draw(st.none() | st.integers(1, 20))
    sides: tuple[int | None, int | None] = (None, None)
    after = sides
    if draw(st.booleans()):
        sides = draw(st.tuples(st.integers(5, 40), st.integers(5, 40)).map(lambda pair: (pair[0] * 16, pair[1] * 16)))
        factor, crop = draw(st.sampled_from([(1, 0), (2, 0), (4, 0), (1, 8), (1, 12)]))
        after = (sides[0] // factor - 2 * crop, sides[1] // factor - 2 * crop)
    batch = draw(st.none() | st.integers(1, 4))
    shapes = [
        (batch, count, *pair) if layout == "NCHW" else (batch, *pair, count)
        for count, pair in ((channels, sides), (classes, after))
    ]
    kind = draw(st.sampled_from(["float32", "float16", "int64"]))
    if kind == "int64":
        shapes[1] = (batch, *after)
    return graph_of(*shapes, kind)


@given(
    graphs(),
    st.none() | st.builds(Reach, st.integers(0, 50), st.integers(1, 32), st.just(False), st.just("g"), st.just(())),
)
def test_every_proposal_serves(graph: Graph, reach: Reach | None) -> None:
    """A proposal is a definition that is read strictly, agrees with its graph, and loads as it was proposed."""
    proposal = propose_emd(graph, "net.onnx", reach, {})
    reading = read_emd(write_emd(Emd.model_validate(proposal.document)), "net.emd", is_strict=True)
    assert reading.emd.model_dump(exclude_unset=True) == {
        **proposal.document,
        "Classes": [{**entry, "Color": tuple(entry["Color"])} for entry in proposal.document["Classes"]],
    }
    model = make_model(reading.emd, graph, "net", reach)
    assert model.layout == proposal.document["ModelFormat"]
    assert model.halo.is_cropping == ("ModelPadding" in proposal.document)
    assert proposal.open_questions

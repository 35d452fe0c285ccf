"""Which ModelType a graph speaks for, and what is wrong said at once."""

import pytest

from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.model.agreement import fitting_type, is_mistaken, require_all, with_fitting_type
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import ModelError

Shape = tuple[int | None, ...]
IMAGE: Shape = (1, 3, 256, 320)


def graph_of(*outputs: Shape, image: Shape = IMAGE, names: tuple[str, ...] = ()) -> Graph:
    named = names or tuple(f"out{number}" for number in range(len(outputs)))
    tensors = tuple(Tensor(name, "float32", shape) for name, shape in zip(named, outputs, strict=True))
    return Graph((Tensor("image", "float32", image),), tensors, (None,) * len(tensors), 17, "ab")


PYRAMID = [(1, channels, -(-256 // 2**level), -(-320 // 2**level)) for channels in (36, 12) for level in range(3, 8)]


@pytest.mark.parametrize(
    ("graph", "type_"),
    [
        (graph_of((1, 5, 256, 320)), "ImageClassification"),
        (graph_of((1, 1, 256, 320)), "ImageClassification"),
        (graph_of((1, 5, 64, 80), (1, 5, 32, 40), (1, 5, 256, 320)), "ImageClassification"),
        (graph_of((1, 25200, 85)), "ObjectDetection"),
        (graph_of((1, 84, 8400)), "ObjectDetection"),
        (graph_of((1, 300, 4), (1, 300, 91)), "ObjectDetection"),
        (graph_of((1, 27, 32, 40), (1, 27, 16, 20), (1, 27, 8, 10)), "ObjectDetection"),
        (graph_of(*PYRAMID), "ObjectDetection"),
        (graph_of((1, 75, 100, 100), (1, 75, 50, 50), (1, 75, 25, 25), (1, 75, 13, 13), image=(1, 3, 800, 800)),
         "ObjectDetection"),
        (graph_of((1, 116, 8400), (1, 32, 64, 80)), "InstanceDetection"),
        (graph_of((1, 10)), "ObjectClassification"),
        (graph_of(()), None),
    ],
)  # fmt: skip
def test_types_that_fit(graph: Graph, type_: str | None) -> None:
    """Names and shapes of the outputs tell rasters, objects, masks of objects, and one row of scores."""
    assert fitting_type(graph) == type_
    assert not is_mistaken(Emd(ModelType=type_), graph)


def test_a_mistake_is_said_with_what_would_fit() -> None:
    """An error of a model that is declared another kind says why, and which ModelType fits; others stay as they are."""
    error = ModelError("something is wrong", "do better")
    rows = graph_of((1, 25200, 85))
    said = with_fitting_type(error, Emd(ModelType="ImageClassification"), rows)
    assert said.message.startswith("something is wrong; ModelType is ImageClassification, but out0")
    assert said.hint == "ModelType ObjectDetection fits"
    for emd in (Emd(ModelType="objectdetection"), Emd(ModelType="InstanceDetection")):
        assert with_fitting_type(error, emd, rows) is error
    assert with_fitting_type(error, Emd(ModelType="ObjectDetection"), graph_of(())) is error
    missing = with_fitting_type(error, Emd(), rows)
    assert (missing.message, missing.hint) == ("something is wrong", "ModelType ObjectDetection fits")


def test_all_errors_are_one() -> None:
    """Every check is made; messages stand in order, each once, and the first hint counts."""

    def fail(message: str, hint: str | None = None) -> None:
        raise ModelError(message, hint)

    checks = (lambda: fail("a"), lambda: 5, lambda: fail("b", "hint b"), lambda: fail("a"), lambda: fail("c", "hint c"))
    with pytest.raises(ModelError) as caught:
        require_all(checks)
    assert (caught.value.message, caught.value.hint) == ("a; b; c", "hint b")
    require_all((lambda: None,))

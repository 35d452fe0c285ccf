"""How far answers reach: fields of elements, halos, and the joining of what graph and probe say."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.network.outputs import describe_outputs
from geodl_core.domain.network.reach import Reach, halo_for, join_reaches
from geodl_core.domain.network.receptive_field import IMAGE, Field, gather, join, radius


def reach(radius_px=10, stride=4, is_global=False, origin="graph"):
    return Reach(None if is_global else radius_px, stride, is_global, origin, ())


def graph(*outputs, image=(None, 3, None, None)):
    inputs = (Tensor("image", "float32", image),)
    return Graph(inputs, tuple(Tensor(*output) for output in outputs), (None,) * len(outputs), opset=17, digest="0")


@given(st.integers(0, 500), st.integers(1, 64))
def test_halo_is_the_next_multiple_of_the_stride(far, stride):
    """A halo is the smallest multiple of the stride that is no less than the radius."""
    halo = halo_for(reach(far, stride))
    assert halo % stride == 0
    assert far <= halo < far + stride


def test_no_halo_without_a_bound():
    """A reach without a bound gives no halo."""
    with pytest.raises(ValueError, match="no bound"):
        halo_for(reach(is_global=True))


def test_impossible_reaches_are_refused():
    """A stride of nothing, a negative radius, a field of broken periods cannot be made."""
    with pytest.raises(ValueError, match="stride"):
        Reach(1, 0, False, "graph", ())
    with pytest.raises(ValueError, match="radius"):
        Reach(-1, 1, False, "graph", ())
    with pytest.raises(ValueError, match="whole period"):
        Field(Fraction(1, 2), (0,), (0,))


def test_agreement_needs_no_note():
    """Where graph and probe agree nothing is noted."""
    joined = join_reaches(reach(), reach(origin="probe"))
    assert (joined.radius_px, joined.stride_px, joined.is_global, joined.notes) == (10, 4, False, ())
    assert joined.origin == "graph and probe"


def test_the_larger_radius_wins():
    """Of two radii the larger is taken, of two strides one that suits both; each disagreement is a note."""
    joined = join_reaches(reach(10, 4), reach(13, 6, origin="probe"))
    assert (joined.radius_px, joined.stride_px) == (13, 12)
    assert len(joined.notes) == 2


@pytest.mark.parametrize("is_graph", [True, False])
def test_one_global_makes_global(is_graph):
    """If one of the two sees the whole tile, both together do, with a note."""
    joined = join_reaches(reach(is_global=is_graph), reach(is_global=not is_graph, origin="probe"))
    assert joined.is_global
    assert joined.radius_px is None
    assert "whole tile" in joined.notes[0]


def test_what_is_not_known_does_not_count():
    """A graph that could not be followed leaves it to the probe, and the other way round."""
    nothing = Reach(None, 1, False, "probe", ("too small",))
    assert join_reaches(None, reach()) == reach()
    assert join_reaches(reach(), nothing) == Reach(10, 4, False, "graph", ("too small",))
    with pytest.raises(ValueError, match="found none"):
        join_reaches(None, None)


def test_strided_then_enlarged():
    """Halving and doubling again leaves a period of two pixels in which one sees ahead and one behind."""
    half = gather(IMAGE, Fraction(2), lambda index: [2 * index, 2 * index + 1])
    full = gather(half, Fraction(1, 2), lambda index: [index // 2])
    assert (full.step, full.lows, full.highs) == (1, (0, 0), (1, 1))
    assert radius(full) == 1
    assert join(full, IMAGE).period_px == 2


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(-3, 3)), max_size=4), st.integers(-20, 20))
def test_fields_are_periodic(layers, index):
    """What an element sees follows from any stack of windows read naively, at every index."""
    found = IMAGE
    seen = {index}
    for kernel, stride, before in layers:
        found = gather(found, Fraction(stride), lambda i, k=kernel, s=stride, b=before: range(i * s - b, i * s - b + k))
    for kernel, stride, before in reversed(layers):
        seen = {tap for i in seen for tap in range(i * stride - before, i * stride - before + kernel)}
    assert (found.low(index), found.high(index)) == (min(seen), max(seen))


def test_tensors_of_different_scale_do_not_meet():
    """Joining elements of different steps is refused."""
    with pytest.raises(ValueError, match="meet"):
        join(IMAGE, gather(IMAGE, Fraction(2), lambda index: [2 * index]))


@pytest.mark.parametrize(
    ("outputs", "kind", "form", "classes"),
    [
        ([("y", "float32", (None, 5, None, None))], "scores", "", 5),
        ([("y", "float32", (None, 1, None, None))], "mask", "", 2),
        ([("y", "int64", (None, None, None))], "class map", "", None),
        ([("y", "float32", (1, 25200, 85))], "detections", "boxes × values", 80),
        ([("output0", "float32", (1, 84, 8400))], "detections", "values × boxes", 80),
        ([("output0", "float32", (1, 300, 6))], "detections", "finished boxes", None),
        ([("detections", "float32", (None, 6))], "detections", "finished boxes", None),
        ([("b", "float32", (1, 900, 4)), ("s", "float32", (1, 900, 3))], "detections", "boxes and scores", 3),
        (
            [("boxes", "float32", (None, 4)), ("labels", "int64", (None,)), ("scores", "float32", (None,))],
            "detections",
            "boxes and scores",
            None,
        ),
        (
            [
                ("num_detections", "float32", (1,)),
                ("detection_boxes", "float32", (1, 100, 4)),
                ("detection_scores", "float32", (1, 100)),
                ("detection_classes", "float32", (1, 100)),
            ],
            "detections",
            "four tensors",
            None,
        ),
        (
            [("output0", "float32", (1, 116, 8400)), ("output1", "float32", (1, 32, 160, 160))],
            "detections",
            "boxes and masks",
            None,
        ),
        (
            [("rows", "float32", (1, 100, 6)), ("masks", "float32", (1, 100, 28, 28, 4))],
            "detections",
            "boxes and masks",
            None,
        ),
        ([("y", "float32", (None, 10))], "scene", "", 10),
        ([("y", "float32", (3, 4, 5, 6, 7))], "unknown", "", None),
    ],
)
def test_outputs_are_told_apart(outputs, kind, form, classes):
    """Names and shapes tell what a network answers, with a reason that names the tensor."""
    found = describe_outputs(graph(*outputs))
    assert (found.kind, found.form, found.classes) == (kind, form, classes)
    assert found.tensors[0] in found.why
    assert found.why.endswith(".")


@pytest.mark.parametrize(("sides", "kind"), [((52, 26, 13), "detections"), ((416, 208), "scores")])
def test_maps_of_detectors_are_coarse(sides, kind):
    """Maps that halve and are coarse are a detector's; those that begin at the image's size are class scores."""
    outputs = [(f"p{side}", "float32", (1, 255, side, side)) for side in sides]
    found = describe_outputs(graph(*outputs, image=(1, 3, 416, 416)))
    assert (found.kind, found.tensors[0]) == (kind, f"p{sides[0]}")


@pytest.mark.parametrize("image", [(1, 3, 240, 320), (1, 240, 320, 3)])
def test_channels_stand_beside_the_image(image):
    """The classes of a raster are those of the axis that is not the image's, in both layouts."""
    shape = (1, 6, 240, 320) if image[1] == 3 else (1, 240, 320, 6)
    assert describe_outputs(graph(("y", "float32", shape), image=image)).classes == 6

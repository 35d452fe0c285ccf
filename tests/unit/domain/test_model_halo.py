"""Halos: how tiles must overlap, by the definition, by the network's reach, or by nothing that is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.model.halo import USUAL_STRIDE_PX, Halo, halo_of
from geodl_core.domain.model.tensors import Layout
from geodl_core.domain.network.graph import Tensor
from geodl_core.domain.network.reach import Reach
from geodl_core.errors import ModelError

Side = int | None
LAYOUTS = pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
sides = st.none() | st.integers(1, 600)


def found(
    before: tuple[Side, Side] = (None, None),
    after: tuple[Side, Side] | None = None,
    reach: Reach | None = None,
    layout: Layout = "NCHW",
    **keys: object,
) -> tuple[Halo, list[str]]:
    pairs = (before, before if after is None else after)
    shapes = [(None, 2, *pair) if layout == "NCHW" else (None, *pair, 2) for pair in pairs]
    tensors = (Tensor("x", "float32", shapes[0]), Tensor("y", "float32", shapes[1]), layout)
    chip = (before[0] or 256, before[1] or 256)
    notes: list[str] = []
    return halo_of(Emd.model_validate(keys), chip, tensors, reach, notes), notes


def reach_of(radius: int | None, stride: int = 1, is_global: bool = False, *notes: str) -> Reach:
    return Reach(radius, stride, is_global, "graph", notes)


@LAYOUTS
def test_model_padding(layout: Layout) -> None:
    """`ModelPadding` that fits is a halo that the network crops; where sizes are open it is believed."""
    for pair in (((64, 80), (48, 64)), ((None, None), (None, None)), ((None, 64), (None, 48))):
        halo, notes = found(*pair, layout=layout, ModelPadding=8, Padding=3)
        assert (halo.px, halo.origin, halo.is_cropping, halo.coarsening) == (8, "ModelPadding", True, 1)
        assert notes == []


@LAYOUTS
def test_cropping_without_the_key(layout: Layout) -> None:
    """A border that the graph leaves off evenly is a halo that it crops, whatever `Padding` says."""
    halo, _ = found((572, 572), (388, 388), layout=layout, Padding=3)
    assert (halo.px, halo.is_cropping, halo.coarsening) == (92, True, 1)
    assert "leaves off its border" in halo.origin
    assert found((64, 80), (48, 64), layout=layout, ModelPadding=0)[0].px == 8


@LAYOUTS
@pytest.mark.parametrize("factor", [2, 4, 32])
def test_coarser_results(layout: Layout, factor: int) -> None:
    """A result with the same fraction of rows and columns is coarser by it, and crops nothing."""
    halo, _ = found((512, 256), (512 // factor, 256 // factor), layout=layout, Padding=64)
    assert halo == Halo(64, "Padding", False, 1, factor, False)
    halo, _ = found((512, 256), (512 // factor, 256 // factor), reach_of(100, 32), layout=layout)
    assert (halo.px, halo.coarsening, halo.is_cropping) == (128, factor, False)


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ((64, 64), (32, 16), {}),
        ((64, 64), (48, 40), {}),
        ((64, 64), (63, 63), {}),
        ((64, 64), (128, 128), {}),
        ((64, 64), (64, 48), {}),
        ((64, 64), (48, 48), {"ModelPadding": 16}),
        ((64, 64), (64, 64), {"ModelPadding": 1}),
        ((64, 64), (32, 32), {"ModelPadding": 8}),
    ],
)
def test_results_that_do_not_fit(before: tuple[int, int], after: tuple[int, int], keys: dict[str, int]) -> None:
    """A result that is neither cropped evenly nor coarser, or other than `ModelPadding` says, is a ModelError."""
    with pytest.raises(ModelError, match=r"y float32 \[\?, 2, "):
        found(before, after, **keys)


def test_padding_below_the_reach_is_noted() -> None:
    """`Padding` counts even below the reach, but then the run report says both numbers."""
    halo, notes = found(reach=reach_of(40, 8), Padding=16)
    assert halo == Halo(16, "Padding", False, 8, 1, False)
    assert notes == ["Padding is 16, but an answer reaches 40 pixels: seams may show"]
    assert found(reach=reach_of(40, 8), Padding=40)[1] == []
    assert found(reach=reach_of(None), Padding=0) == (Halo(0, "Padding", False, USUAL_STRIDE_PX, 1, False), [])


@given(st.integers(0, 2000), st.integers(1, 64))
def test_a_reach_that_is_known(radius: int, stride: int) -> None:
    """Without padding the halo is the least multiple of the stride that holds the reach, and says so."""
    halo, notes = found(reach=reach_of(radius, stride))
    assert radius <= halo.px < radius + stride
    assert halo.px % stride == 0
    assert (halo.stride_px, halo.is_cropping, halo.is_global, notes) == (stride, False, False, [])
    assert halo.origin == f"graph: an answer reaches {radius} pixels, the stride is {stride}"


@pytest.mark.parametrize("keys", [{}, {"Padding": 48}, {"ModelPadding": 16}])
def test_a_network_that_sees_its_whole_tile(keys: dict[str, int]) -> None:
    """A global network is known as one, whatever the halo comes from, and the reason is noted."""
    after = (224, 224) if "ModelPadding" in keys else None
    halo, notes = found((256, 256), after, reach_of(None, 16, True, "mean over the tile", "b"), **keys)
    assert (halo.is_global, halo.stride_px) == (True, 16)
    assert halo.px == next(iter(keys.values()), 64)
    assert notes[0] == "the network sees its whole tile: mean over the tile, and 1 more"
    assert [("seams" in note) for note in notes[1:]] == ([True] if "ModelPadding" in keys else [])


@pytest.mark.parametrize("reach", [None, reach_of(None)])
def test_nothing_known(reach: Reach | None) -> None:
    """Where nothing is known the halo is a quarter of the tile; an open size gets the usual stride, a fixed one 1."""
    halo, notes = found(reach=reach)
    assert (halo.px, halo.stride_px, halo.is_global, notes) == (64, USUAL_STRIDE_PX, False, [])
    assert "quarter" in halo.origin
    assert found((250, 250), reach=reach)[0] == Halo(62, halo.origin, False, 1, 1, False)


@given(sides, sides, st.none() | st.integers(1, 64), st.booleans())
def test_a_quarter_at_most(height: Side, width: Side, stride: int | None, is_global: bool) -> None:
    """A guessed halo is at most a quarter of the tile, and a multiple of the stride wherever one fits."""
    reach = None if stride is None else reach_of(None, stride, is_global)
    halo, _ = found((height, width), reach=reach)
    quarter = min(height or 256, width or 256) // 4
    assert 0 <= halo.px <= quarter
    assert halo.px % halo.stride_px == 0 or quarter < halo.stride_px

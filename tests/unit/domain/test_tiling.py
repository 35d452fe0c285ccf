"""Tiles: the fastest core within the memory, what it is a multiple of, and where the size is not free."""

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.model.model import Model, make_model
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.network.reach import Reach
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.tiling import (
    BAND_BYTES,
    MIB,
    UNKNOWN_BYTES_PER_PX,
    bytes_per_tile_px,
    choose_tile,
    choose_tiling,
    fastest_core,
)
from geodl_core.errors import PlanError

Shape = tuple[int | None, ...]
OPEN: Shape = (None, 4, None, None)


def model_of(
    reach: Reach | None, source: Shape = OPEN, result: Shape = (None, 5, None, None), **fields: object
) -> Model:
    """A network of four bands and five classes; `bytes_per_px` is not looked at."""
    document = {
        "ModelFile": "x.onnx",
        "ModelType": "ImageClassification",
        "Classes": [{"Value": value, "Name": str(value)} for value in range(5)],
        "ExtractBands": [0, 1, 2, 3],
        "ImageHeight": 256,
        "ImageWidth": 256,
        **fields,
    }
    graph = Graph((Tensor("x", "float32", source),), (Tensor("y", "float32", result),), (None,), 17, "ab")
    return make_model(parse_emd(json.dumps(document), "m.emd"), graph, "m", reach)


def reach_of(radius: int, stride: int) -> Reach:
    return Reach(radius, stride, False, "graph", ())


YARDSTICK = replace(model_of(reach_of(51, 8)), bytes_per_px=384.0)
"""As `load_model` reads /bench/unet_small.onnx: 192 bytes are live, twice that are held."""
GLOBAL = model_of(Reach(None, 16, True, "graph", ("pools",)))
HALF_FIXED = model_of(reach_of(51, 8), (1, 4, 256, None), (1, 5, 256, None))
FIXED = model_of(reach_of(51, 8), (1, 4, 256, 256), (1, 5, 256, 256))


@pytest.mark.parametrize(("memory", "core"), [(64, 256), (128, 256), (256, 512), (512, 1024), (4096, 1024)])
def test_the_yardstick(memory: int, core: int) -> None:
    """The yardstick's U-Net gets a core of 1024 pixels by default and whatever more memory there is; less gets less."""
    assert choose_tile(YARDSTICK, Arguments(tile_memory_bytes=memory * MIB)) == ((core, core), 56)
    assert choose_tile(YARDSTICK, Arguments())[0] == (1024, 1024)


@pytest.mark.parametrize(
    ("halo", "step", "core"),
    [(0, 8, 1024), (96, 8, 1536), (400, 32, 4096), (56, 3, 1536), (300, 1, 4096), (3000, 8, 6144), (0, 1000, 1000)],
)
def test_memory_enough(halo: int, step: int, core: int) -> None:
    """With memory enough wide halos get wide cores, odd strides what suits them and the blocks of the result."""
    assert fastest_core(1.0, 1 << 40, -(-halo // step) * step, step) == core


halos = st.integers(0, 600)
steps = st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]) | st.integers(1, 200)
per_px = st.floats(1, 20_000)
memories = st.integers(16 * MIB, 1 << 36)


@given(halos, steps, per_px, memories)
def test_every_core(halo: int, step: int, bytes_per_px: float, memory: int) -> None:
    """A core fits its memory, starts and ends where the network's phase does, and suits the result's blocks."""
    halo = -(-halo // step) * step
    try:
        core = fastest_core(bytes_per_px, memory, halo, step)
    except PlanError:
        assert (step + 2 * halo) ** 2 * bytes_per_px > memory
        return
    assert (core + 2 * halo) ** 2 * bytes_per_px <= memory
    assert core % step == 0
    assert core > 0
    least = -(-2 * halo // step) * step
    assert core >= least or (least + 2 * halo) ** 2 * bytes_per_px > memory
    if step & (step - 1) == 0 and least <= 512:
        fits = [
            a for a in (512, 256, 128, 64) if a % step == 0 and (max(a, least) + 2 * halo) ** 2 * bytes_per_px <= memory
        ]
        found = next((a for a in (512, 256, 128, 64) if core % a == 0), 1)
        assert found >= max((a for a in fits if a >= least), default=1)
        assert core < 512 or core % 512 == 0 or least > 512


@given(halos, steps, per_px, memories, memories)
def test_more_memory_is_no_smaller(halo: int, step: int, bytes_per_px: float, one: int, other: int) -> None:
    """More memory never gives a smaller core."""
    halo = -(-halo // step) * step
    low, high = sorted((one, other))
    try:
        small = fastest_core(bytes_per_px, low, halo, step)
    except PlanError:
        assume(False)
    assert small <= fastest_core(bytes_per_px, high, halo, step)


def test_too_little_memory() -> None:
    """Where not even the smallest tile fits, the budget and what is needed are named."""
    arguments = Arguments(tile_memory_bytes=16 * MIB, padding_px=200)
    with pytest.raises(
        PlanError, match=r"the smallest tile, 408 × 408 pixels, needs 65 MiB, the budget is 16"
    ) as caught:
        choose_tile(YARDSTICK, arguments)
    assert "--tile-memory 65MiB" in (caught.value.hint or "")
    assert choose_tile(YARDSTICK, replace(arguments, tile_memory_bytes=65 * MIB)) == ((8, 8), 200)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_no_larger_than_the_scene(height: int, width: int) -> None:
    """A small scene gets a core that just covers it, along each side; a large one the same as any."""
    core, halo = choose_tile(YARDSTICK, Arguments(), (height, width))
    assert halo == 56
    for side, extent in zip(core, (height, width), strict=True):
        assert side == min(1024, -(-extent // 8) * 8)
    assert choose_tiling(YARDSTICK, Arguments(), (height, width)).core_px == core


@pytest.mark.parametrize("memory", [16, 512, 8192])
@pytest.mark.parametrize("shape", [None, (100, 60)])
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (GLOBAL, ((128, 128), 64)),
        (model_of(None), ((128, 128), 64)),
        (FIXED, ((144, 144), 56)),
        (HALF_FIXED, ((144, 144), 56)),
    ],
    ids=["sees its whole tile", "unknown", "fixed", "fixed on one side"],
)
def test_sizes_that_are_not_free(
    model: Model, expected: tuple[tuple[int, int], int], memory: int, shape: tuple[int, int] | None
) -> None:
    """Where an answer may depend on the tile's size, or the graph fixes it, memory and scene choose nothing."""
    assert choose_tile(model, Arguments(tile_memory_bytes=memory * MIB), shape) == expected


def test_a_size_that_is_asked_for() -> None:
    """What the user asks for is taken, whatever the memory."""
    arguments = Arguments(tile_size_px=640, tile_memory_bytes=16 * MIB)
    assert choose_tile(YARDSTICK, arguments, (100, 100)) == ((528, 528), 56)


def test_what_a_tile_takes() -> None:
    """A tile takes activations and its own pixels, times a batch that the graph fixes; what is unknown is assumed."""
    assert bytes_per_tile_px(YARDSTICK) == 384 + 4 * BAND_BYTES
    assert bytes_per_tile_px(replace(YARDSTICK, batch=4)) == 4 * (384 + 4 * BAND_BYTES)
    assert bytes_per_tile_px(replace(YARDSTICK, bytes_per_px=None)) == UNKNOWN_BYTES_PER_PX + 4 * BAND_BYTES
    assert choose_tile(replace(YARDSTICK, bytes_per_px=None), Arguments())[0] == (256, 256)

"""How tiles of detectors lie: what an object of a size needs, in the sizes that a network takes."""

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geodl_core.domain.detection.choice import DetectionChoice
from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.grid import Grid
from geodl_core.domain.model.detector import make_detector
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.plan.detector_tiling import detector_tiling, is_resized, tile_px
from geodl_core.domain.plan.job import Arguments
from geodl_core.errors import PlanError

GRID = Grid("EPSG:32632", (0.5, 0.0, 500000.0, 0.0, -0.5, 5400000.0), 4000, 6000)
NOWHERE = replace(GRID, crs='LOCAL_CS["drawing",UNIT["metre",1]]')


def detector(height=640, width=640, is_fixed=True, **keys):
    """Return a detector of that tile, of a fixed size or any."""
    document = {
        "ModelFile": "x.onnx",
        "ModelType": "ObjectDetection",
        "ModelConfiguration": {"Name": "", "Config": {"form": "yolo transposed", "coordinates": "pixels"}},
        "ImageHeight": height,
        "ImageWidth": width,
        "ExtractBands": [0, 1, 2],
        "Classes": [{"Value": value, "Name": str(value)} for value in (1, 2)],
        **keys,
    }
    sizes = (height, width) if is_fixed else (None, None)
    image, answer = Tensor("x", "float32", (None, 3, *sizes)), Tensor("y", "float32", (None, 6, None))
    graph = Graph((image,), (answer,), (None,), 17, "ab")
    return make_detector(parse_emd(json.dumps(document), "m.emd"), graph, "m", None)


FIXED, OPEN = detector(), detector(is_fixed=False)
ODD = detector(500, 300)


def tiling(model, largest=None, grid=GRID, **arguments):
    return detector_tiling(model, Arguments(**arguments, detection=DetectionChoice(max_object=largest)), grid)


@pytest.mark.parametrize(
    ("largest", "halo"), [("48", 32), ("100", 64), ("112", 64), ("113", 96), ("112px", 64), ("55m", 64), ("20.5 m", 32)]
)
def test_half_an_object_and_a_margin_fit_into_the_halo(largest, halo):
    """The halo is half of --max-object and 8 pixels, raised to the stride; lengths in metres are on the ground."""
    found = tiling(FIXED, largest)
    assert found.halo_px == halo
    assert found.core_px == (640 - 2 * halo, 640 - 2 * halo)
    assert found.step_px == 32
    assert found.blend_px == 0
    assert found.pad == "constant"


def test_padding_goes_before_the_largest_object():
    """An explicit padding is the halo, whatever the largest object; without either it is the definition's."""
    assert tiling(FIXED, "200", padding_px=64).halo_px == 64
    assert tiling(FIXED).halo_px == 160
    assert tiling(detector(Padding=96)).halo_px == 96
    assert tiling(detector(Padding=96), "48").halo_px == 32


def test_sizes_that_no_stride_divides():
    """A tile whose sides are no multiples of the stride has a halo to the pixel."""
    found = tiling(ODD, "60")
    assert (found.halo_px, found.step_px) == (38, 1)
    assert found.core_px == (500 - 76, 300 - 76)


def test_what_only_fits_without_the_stride():
    """A halo that leaves a core alone, but none once it is raised to the stride, is left as it is."""
    model = detector(128, 128)
    assert tiling(model, padding_px=32).core_px == (64, 64)
    found = tiling(model, padding_px=40)
    assert (found.halo_px, found.core_px, found.step_px) == (40, (48, 48), 1)
    with pytest.raises(PlanError, match="a halo of 64 pixels leaves no core of a tile of 128 × 128"):
        tiling(model, padding_px=64)


def test_larger_tiles_are_resized():
    """A tile of another size than a network of fixed size takes keeps its proportions, and its share of context."""
    model = detector(240, 320)
    arguments = Arguments(tile_size_px=640)
    assert tile_px(model, arguments) == (480, 640)
    assert is_resized(model, (480, 640))
    assert not is_resized(model, (240, 320))
    plain, found = tiling(model), tiling(model, tile_size_px=640)
    assert (plain.halo_px, plain.step_px) == (60, 1)
    assert found.halo_px == 120
    assert found.core_px == (240, 400)
    # What is said in pixels of the scene stays so.
    assert tiling(model, "64", tile_size_px=640).halo_px == 40
    assert tiling(model, padding_px=10, tile_size_px=640).halo_px == 10
    smaller = tiling(FIXED, tile_size_px=200)
    assert (smaller.halo_px, smaller.core_px) == (50, (100, 100))


def test_networks_of_any_size():
    """Where a network takes any size, tiles are multiples of its stride, and wide enough for what overlaps."""
    assert not is_resized(OPEN, (1000, 1000))
    assert tile_px(OPEN, Arguments(tile_size_px=1000)) == (1024, 1024)
    assert tiling(OPEN, tile_size_px=1000).core_px == (1024 - 320, 1024 - 320)
    # The default tile of 640 would have a core of 64 with a halo of 288.
    wide = tiling(OPEN, "550")
    assert wide.halo_px == 288
    assert wide.core_px == (576, 576)


def test_grids_that_lie_nowhere():
    """Metres need a place on Earth; pixels do not."""
    assert tiling(FIXED, "100", grid=NOWHERE).halo_px == 64
    with pytest.raises(Exception, match="no place on Earth"):
        tiling(FIXED, "100m", grid=NOWHERE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pad": "network"}, "pad network"),
        ({"precision": "fp16"}, "fp16"),
        ({"padding_px": 320}, "a halo of 320 pixels leaves no core of a tile of 640 × 640"),
        (
            {"test_time_augmentation": True, "detection": DetectionChoice(tta_scales=(1, 1.5))},
            "tta_scales: 1.5 is larger",
        ),
    ],
)
def test_what_cannot_be(arguments, words):
    """What a detector cannot do is refused when a run is planned."""
    with pytest.raises(PlanError, match=words):
        detector_tiling(FIXED, Arguments(**arguments), GRID)


def test_sizes_of_augmentation():
    """Larger looks are refused only where a network cannot take them and augmentation is on."""
    scaled = DetectionChoice(tta_scales=(0.5, 2.0))
    assert detector_tiling(FIXED, Arguments(detection=scaled), GRID)
    assert detector_tiling(OPEN, Arguments(detection=scaled, test_time_augmentation=True), GRID)
    augmented = detector(test_time_augmentation=True)
    with pytest.raises(PlanError, match="tta_scales"):
        detector_tiling(augmented, Arguments(detection=scaled), GRID)
    assert detector_tiling(augmented, Arguments(detection=scaled, test_time_augmentation=False), GRID)


@pytest.mark.parametrize("pad", ["reflect", "edge", "constant"])
def test_what_lies_beyond_the_scene(pad):
    """What a detector sees beyond the scene may be chosen."""
    assert tiling(FIXED, pad=pad).pad == pad


@given(
    st.integers(33, 1500),
    st.integers(33, 1500),
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 600)),
    st.one_of(st.none(), st.integers(33, 3000)),
)
def test_whole_objects_always_fit(height, width, is_fixed, largest, tile):
    """Whatever the sizes: what is read is the tile, no less than the objects need overlaps, and some core is left."""
    model = detector(height, width, is_fixed)
    text = None if largest is None else str(largest)
    try:
        found = tiling(model, text, tile_size_px=tile)
    except PlanError:
        assume(False)
    read = tuple(core + 2 * found.halo_px for core in found.core_px)
    wanted = tile_px(model, Arguments(tile_size_px=tile))
    if is_fixed:
        # A network of fixed size sees all of a tile, and nothing else.
        assert all(have <= want for have, want in zip(read, wanted, strict=True))
        assert all(want - have < found.step_px for have, want in zip(read, wanted, strict=True))
    if largest is not None:
        assert found.halo_px >= largest / 2 + 8
    assert min(found.core_px) >= 1
    assert found.halo_px % found.step_px == 0
    assert all(core % found.step_px == 0 for core in found.core_px)

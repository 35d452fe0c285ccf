"""Jobs: the id follows what determines the bytes; arguments that cannot be are refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.choice import DetectionChoice
from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.job import (
    COMPRESSIONS,
    PADS,
    Arguments,
    InputIdentity,
    Job,
    MosaicItem,
    arguments_json,
    job_id,
)
from geodl_core.domain.scene.masks import BitField
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.errors import InputError

GRID = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 120, 180)
JOB = Job(
    collection="c",
    item_id="i",
    inputs=(InputIdentity("red", 0, "checksum:1", 0.0), InputIdentity("nir", 0, "checksum:2", None)),
    model_digest="ab",
    grid=GRID,
    radiometry=Radiometry("raw", (1.0,), (0.0,), None),
    pad="reflect",
    core_px=(192, 192),
    halo_px=32,
    blend_px=0,
    threshold=0.5,
    compress="deflate",
)
MOSAIC_ITEM = MosaicItem("c", "i", JOB.inputs, (), (), JOB.radiometry)
CHANGES = [
    {"collection": None},
    {"collection": "d"},
    {"item_id": "j"},
    {"inputs": JOB.inputs[::-1]},
    {"inputs": JOB.inputs[:1]},
    {"inputs": (replace(JOB.inputs[0], content="checksum:3"), JOB.inputs[1])},
    {"inputs": (replace(JOB.inputs[0], index=1), JOB.inputs[1])},
    {"inputs": (replace(JOB.inputs[0], asset="red2"), JOB.inputs[1])},
    {"model_digest": "cd"},
    {"grid": replace(GRID, height=121)},
    {"grid": replace(GRID, crs="EPSG:32633")},
    {"grid": replace(GRID, transform=(10.0, 0.0, 600010.0, 0.0, -10.0, 5400000.0))},
    {"radiometry": Radiometry("reflectance", (1.0,), (0.0,), None)},
    {"radiometry": Radiometry("raw", (1.0 + 1e-12,), (0.0,), None)},
    {"radiometry": Radiometry("raw", (1.0,), (0.1,), None)},
    {"pad": "edge"},
    {"core_px": (192, 128)},
    {"halo_px": 64},
    {"blend_px": 16},
    {"threshold": 0.25},
    {"compress": "lzw"},
    {"area": "{}"},
    {"area": "{ }"},
    {"masks": ((InputIdentity("scl", 0, "checksum:4", None), (3, 8)),)},
    {"masks": ((InputIdentity("scl", 0, "checksum:4", None), (3,)),)},
    {"masks": ((InputIdentity("scl", 0, "checksum:5", None), (3, 8)),)},
    {"masks": ((InputIdentity("scl", 1, "checksum:4", None), (3, 8)),)},
    {"test_time_augmentation": True},
    {"merge_policy": "max"},
    {"merge_policy": "min"},
    {"predict_background": False},
    {"probabilities": "uint8"},
    {"probabilities": "float32"},
    {"precision": "fp16"},
    {"resampling": "cubic"},
    {"resampling": "nearest"},
    {"mask_bits": ((BitField(3, 1, (1,)),),)},
    {"mask_bits": ((BitField(4, 1, (1,)),),)},
    {"mosaic": (MOSAIC_ITEM,)},
    {"mosaic": (MOSAIC_ITEM, replace(MOSAIC_ITEM, item_id="j"))},
    {"mosaic": (replace(MOSAIC_ITEM, item_id="j"), MOSAIC_ITEM)},
    {"mosaic": (replace(MOSAIC_ITEM, radiometry=Radiometry("raw", (2.0,), (0.0,), None)),)},
    {"detection": DetectionChoice()},
    {"detection": DetectionChoice(nms_overlap=0.3)},
    {"detection": DetectionChoice(merge_cut=True)},
    {"detection": DetectionChoice(formats=("parquet", "gpkg"))},
    {"detection": DetectionChoice(crs="EPSG:32632")},
]


def test_every_field_is_in_the_id() -> None:
    """Each field that changes the bytes changes the id, and no two changes give one id."""
    ids = [job_id(JOB), *(job_id(replace(JOB, **change)) for change in CHANGES)]
    assert len(set(ids)) == len(ids)
    assert {name for change in CHANGES for name in change} == set(Job.__slots__)


def test_the_id_is_of_the_content() -> None:
    """Equal jobs have one id, a SHA-256 in hexadecimal; no field holds an href."""
    assert job_id(JOB) == job_id(replace(JOB))
    assert len(job_id(JOB)) == 64
    int(job_id(JOB), 16)
    assert "href" not in {*Job.__slots__, *InputIdentity.__slots__}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pad": "mirror"}, "pad: expected one of .*reflect, edge, constant, found mirror"),
        ({"compress": "jpeg"}, "compress: expected one of"),
        ({"merge_policy": "median"}, "merge_policy: expected one of mean, max, min, found median"),
        ({"probabilities": "int8"}, "probabilities: expected one of uint8, float32, found int8"),
        ({"precision": "bf16"}, "precision: expected one of fp32, fp16, found bf16"),
        ({"tile_size_px": -1}, "tile_size"),
        ({"padding_px": -1}, "padding"),
        ({"tile_memory_bytes": (16 << 20) - 1}, "tile_memory: expected at least 16 MiB, found 16777215 bytes"),
        ({"threshold": 1.01}, "threshold: expected 0 to 1, found 1.01"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
    ],
)
def test_arguments_that_cannot_be(fields: dict[str, object], said: str) -> None:
    """An argument out of range is an InputError that names it, what is expected and what was found."""
    with pytest.raises(InputError, match=said) as caught:
        Arguments(**fields)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


@given(st.sampled_from(PADS), st.sampled_from(COMPRESSIONS), st.none() | st.floats(0, 1), st.none() | st.integers(0))
def test_arguments_that_can_be(pad: str, compress: str, threshold: float | None, size: int | None) -> None:
    """What was given is shown by its name on the command line, what was not is left out."""
    arguments = Arguments(pad=pad, compress=compress, threshold=threshold, tile_size_px=size, padding_px=size)  # type: ignore[arg-type]
    shown = {"pad": pad, "compress": compress, "threshold": threshold, "tile_size": size, "padding": size}
    assert arguments_json(arguments) == {name: value for name, value in shown.items() if value is not None}


def test_arguments_as_json() -> None:
    """Mappings and ranges become plain JSON values; what was left to the model is not shown."""
    shown = arguments_json(Arguments(source_range=(0, 10), bands={"nir": "B08"}, radiometry="raw"))
    assert shown["source_range"] == [0, 10]
    assert shown["bands"] == {"nir": "B08"}
    assert arguments_json(Arguments()) == {"compress": "deflate"}


def test_arguments_of_scores_as_json() -> None:
    """What was chosen of scores is shown by its name, a policy only where there is something to merge."""
    chosen = Arguments(
        test_time_augmentation=True,
        merge_policy="max",
        predict_background=False,
        probabilities="uint8",
        precision="fp16",
        masks={"scl": (3, 8)},
        area="{}",
    )
    assert arguments_json(chosen) == {
        "compress": "deflate",
        "aoi": "{}",
        "mask": {"scl": [3, 8]},
        "test_time_augmentation": True,
        "merge_policy": "max",
        "predict_background": False,
        "return_probability_raster": "uint8",
        "precision": "fp16",
    }
    assert "merge_policy" not in arguments_json(Arguments(merge_policy="max"))


def test_a_tile_memory_is_shown() -> None:
    """The memory of a tile chooses its size, which is part of the job: whoever repeats the run must know it."""
    assert arguments_json(Arguments(tile_memory_bytes=64 << 20)) != arguments_json(Arguments())

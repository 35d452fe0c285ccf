"""Plans as files: what is written is read, what was changed or is something else is refused."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.job import Arguments, InputIdentity, Job, job_id
from geodl_core.domain.plan.plan import BandSource, MaskSource, Plan, pack_live, plan_digest, tile_shape
from geodl_core.domain.plan.plan_document import FORMAT, PlanDocument, parse_plan
from geodl_core.domain.scene.item import Band
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.errors import PlanError

AREA = '{"type":"Polygon","coordinates":[[[9,48],[9.1,48],[9.1,48.1],[9,48]]]}'
GRID = Grid("EPSG:32632", (10.0, 0.0, 600000.1, 0.0, -10.0, 5400000.7), 1200, 900)
NODATA = (float("nan"), None, float("-inf"), 0.0, -3.4028234663852886e38)
MASK = BandSource("scl", "https://x/scl.tif?a=1&b=ü", 0, "uint8", None, 2, (256, 256))


def document_of(nodata: float | None = None, **job_fields: Any) -> PlanDocument:
    job = Job(
        collection="c",
        item_id="i",
        inputs=(InputIdentity("red", 0, "checksum:1", nodata),),
        model_digest="ab",
        grid=GRID,
        radiometry=Radiometry("raw", (1 / 3,), (-0.1,), (0.0, 1e4)),
        pad="reflect",
        core_px=(512, 512),
        halo_px=32,
        blend_px=0,
        threshold=0.3,
        compress="zstd",
        area=AREA,
        masks=((InputIdentity("scl", 0, "size:1,mtime_ns:2", None), (3, 8, -1)),),
        test_time_augmentation=True,
        merge_policy="max",
        predict_background=False,
        probabilities="uint8",
        precision="fp16",
    )
    job = replace(job, **job_fields)
    live = np.random.default_rng(0).random(tile_shape(job.grid, job.core_px)) > 0.4
    plan = Plan(
        job_id=job_id(job),
        grid=job.grid,
        core_px=job.core_px,
        halo_px=job.halo_px,
        step_px=8,
        blend_px=job.blend_px,
        pad=job.pad,
        sources=(BandSource("red", "/a/red.tif", 0, "float32", nodata, 1),),
        chip_dtype="float32",
        live=pack_live(live),
        masks=(MaskSource(MASK, (3, 8, -1)),),
        area=job.area,
        panel_cols=2,
    )
    band = Band("red", 0, ("red", "b04"), "/a/red.tif", "image/tiff", ("data",), 1e-4, -0.1, nodata, (0, 1e4), 10, None)
    facts = {
        "job": job,
        "plan": plan,
        "shards": 3,
        "bands": (band,),
        "notes": ("a note", "Ä"),
        "arguments": Arguments(bands={"red": "B04"}, masks={"scl": (3, 8)}, area=AREA, source_range=(0.0, 1e4)),
        "source": {"id": "i", "properties": {"x": [1, 2.5, None, True, "ü"]}, "assets": {}},
        "collection": "out",
        "model_file": "model.dlpk",
        "model_sha256": "cd" * 32,
        "emd_text": bytes(range(256)) * 3,
        "model_word": "m.emd",
        "model_name": "m",
        "model_item_href": None,
    }
    return PlanDocument(**{name: fact for name, fact in facts.items() if name in PlanDocument.model_fields})


def written(document: PlanDocument) -> bytes:
    return document.model_dump_json(indent=1).encode()


def changed(**changes: Any) -> bytes:
    """Return the document with values at dotted paths replaced (`__` for dots)."""
    facts = json.loads(written(document_of()))
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = facts
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[name] = value
    return json.dumps(facts).encode()


@pytest.mark.parametrize("nodata", NODATA)
def test_written_then_read(nodata: float | None) -> None:
    """A plan that is written and read is the same, bytes, masks, area and NaN among it; its text is JSON."""
    document = document_of(nodata)
    content = written(document)
    json.loads(content, parse_constant=pytest.fail)
    found = parse_plan(content, "plan.json")
    assert written(found) == content
    assert job_id(found.job) == document.plan.job_id
    assert plan_digest(found.plan) == plan_digest(document.plan)
    for name in ("live", "masks", "area", "grid", "panel_cols", "core_px", "job_id"):
        assert getattr(found.plan, name) == getattr(document.plan, name)
    for name in ("source", "notes", "shards", "emd_text", "arguments", "radiometry", "collection"):
        assert getattr(found, name) == getattr(document, name)
    for value in (found.plan.sources[0].nodata, found.job.inputs[0].nodata, found.bands[0].nodata):
        assert value == nodata or (value != value and nodata != nodata)  # NaN is not itself


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200)
@given(numbers, numbers, st.floats(0, 1), st.none() | st.floats(), st.binary(max_size=40))
def test_numbers_come_back_to_the_last_bit(
    scale: float, offset: float, threshold: float, nodata: float | None, text: bytes
) -> None:
    """Whatever the numbers and bytes, the job that is read has the id of the job that was written."""
    radiometry = Radiometry("raw", (scale,), (offset,), None)
    document = document_of(nodata, radiometry=radiometry, threshold=threshold).model_copy(update={"emd_text": text})
    found = parse_plan(written(document), "plan.json")
    assert job_id(found.job) == job_id(document.job)
    assert found.emd_text == text


@pytest.mark.parametrize(
    "changes",
    [
        {"job__item_id": "j"},
        {"job__halo_px": 64},
        {"job__threshold": 0.31},
        {"job__precision": "fp32"},
        {"job__inputs__0__content": "checksum:2"},
        {"job__masks": []},
        {"job__area": None},
        {"job__radiometry__scale": [0.3]},
        {"plan__job_id": "ab" * 32},
    ],
)
def test_a_changed_job(changes: dict[str, Any]) -> None:
    """A job that was changed by hand is refused, and the hint says what to do."""
    with pytest.raises(PlanError, match=r"there/plan\.json: the plan is of another job") as caught:
        parse_plan(changed(**changes), "there/plan.json")
    assert "plan again" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"plan__halo_px": 0},
        {"plan__pad": "edge"},
        {"plan__blend_px": 16},
        {"plan__area": None},
        {"plan__masks": []},
        {"plan__sources": []},
        {"plan__sources__0__nodata": 7.0},
        {"plan__grid__crs": "EPSG:32633"},
        {"plan__core_px": [500, 512]},
    ],
    ids=str,
)
def test_a_plan_laid_out_otherwise_than_its_job(changes: dict[str, Any]) -> None:
    """A plan whose layout is not that of its job is refused: its result would be known under the wrong id."""
    with pytest.raises(PlanError):
        parse_plan(changed(**changes), "plan.json")


HOSTILE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b"\x00" * 100,
    b'"\\ud800"',
    b"[" * 100_000,
    b'{"source":' * 5000 + b"1" + b"}" * 5000,
    b"{}",
    b'{"format": "geodl-plan-1"}',
    changed(format="geodl-plan-2"),
    changed(strange=1),
    changed(shards="many"),
    changed(emd_text="é not base64"),
    changed(plan__live="*"),
    changed(plan__live=""),
    changed(plan__core_px=[0, 512]),
    changed(plan__core_px=[512]),
    changed(plan__halo_px=-1),
    changed(plan__blend_px=500),
    changed(plan__grid__height=0),
    changed(plan__grid__height=10**30),
    changed(plan__grid__height=1e400),
    changed(plan__grid__transform=[0] * 6),
    changed(plan__grid__transform=["nan"] * 6),
    changed(plan__grid__crs=""),
    changed(job__grid__width=-5),
    changed(job__compress="jpeg"),
    changed(job__merge_policy="median"),
    changed(job__masks=[[1, 2]]),
    changed(arguments__threshold=7),
    changed(arguments__pad="mirror"),
    changed(arguments__tile_memory_bytes=0),
    changed(arguments__masks={"scl": "3"}),
    changed(bands=[{}]),
    changed(source=[1]),
    changed(notes=None),
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_documents(content: bytes) -> None:
    """Whatever the bytes, what is no plan is a PlanError that names the file and what was expected."""
    with pytest.raises(PlanError, match=r"x\.json") as caught:
        parse_plan(content, "x.json")
    assert "\n" not in caught.value.message


def test_damaged_documents() -> None:
    """A plan cut short is a PlanError; one with a changed byte is too, or is read; nothing else is raised."""
    content = written(document_of())
    for length in range(0, len(content), 23):
        with pytest.raises(PlanError):
            parse_plan(content[:length], "x.json")
    odd = set()
    for position in range(0, len(content), 7):
        for mask in (0xFF, 0x01):
            damaged = bytearray(content)
            damaged[position] ^= mask
            try:
                parse_plan(bytes(damaged), "x.json")
            except PlanError:
                pass
            except Exception as error:  # noqa: BLE001  # every other exception is what is looked for
                odd.add(f"{position} ^ {mask:#x}: {type(error).__name__}: {error}")
    assert odd == set()


def test_the_format_is_named() -> None:
    """The file says which version of the format it is."""
    assert json.loads(written(document_of()))["format"] == FORMAT

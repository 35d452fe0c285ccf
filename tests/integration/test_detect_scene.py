"""Objects are found once, whole, wherever tiles meet: a perfect detector over scenes of known truth."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from geodl_core.domain.detection.choice import DetectionChoice
from geodl_core.domain.plan.job import Arguments
from geodl_core.engine.load_model import load_model
from geodl_core.engine.open_worker import Means
from geodl_core.engine.plan_scene import plan_scene
from geodl_core.errors import InputError, PlanError
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from perfect import NAMES, write_detector, write_objects
from runs import data_files, run_item
from schemas import require_valid

SHAPE = (900, 1000)
HALO = 64
CORE = 128
"""Tiles of 256 pixels, less the halo on both sides."""
LARGEST = 2 * (HALO - 8)
"""An object that is no longer is whole in the tile that holds its centre."""


def draw_objects(seed, largest=LARGEST, count=2500, shape=SHAPE):
    """Return boxes that do not touch, some nested, the first over each border and corner of the tiles' cores."""
    random = np.random.default_rng(seed)
    taken = np.zeros(shape, bool)
    boxes = []

    def place(x0, y0, width, height):
        x1, y1 = x0 + width, y0 + height
        is_inside = x0 >= 0 and y0 >= 0 and x1 <= shape[1] and y1 <= shape[0]
        if not is_inside or taken[max(y0 - 3, 0) : y1 + 3, max(x0 - 3, 0) : x1 + 3].any():
            return
        taken[y0:y1, x0:x1] = True
        boxes.append((x0, y0, x1, y1, int(random.integers(len(NAMES)))))
        if min(width, height) > 40:
            # One of its own class or another within it.
            inner = min(width, height) // 4
            boxes.append((x0 + inner, y0 + inner, x0 + 2 * inner, y0 + 2 * inner, int(random.integers(len(NAMES)))))

    for row in range(0, shape[0], CORE // 2):
        for col in range(0, shape[1], CORE // 2):
            width, height = random.integers(5, 50, 2)
            place(col - int(random.integers(width)), row - int(random.integers(height)), int(width), int(height))
    for _ in range(count):
        longest = int(np.exp(random.uniform(np.log(4), np.log(largest))))
        width, height = random.permutation([longest, max(4, int(longest * random.uniform(0.4, 1)))])
        corner = random.integers(0, np.asarray(shape[::-1]) - (width, height))
        place(*map(int, (*corner, width, height)))
    return boxes


def rows_of(folder):
    """Return xmin, ymin, xmax, ymax and class index of all rows of a result."""
    table = gpd.read_parquet(folder / "detections.parquet")
    boxes = table[[f"box_px_{side}" for side in ("xmin", "ymin", "xmax", "ymax")]].to_numpy()
    return [tuple(row) for row in np.column_stack([np.rint(boxes), table["class_id"] - 10]).astype(int).tolist()]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A scene full of objects, a detector, and the truth."""
    folder = tmp_path_factory.mktemp("crowd")
    truth = draw_objects(1)
    item = write_objects(folder, truth, SHAPE)
    write_detector(folder, Padding=HALO)
    return folder, item, truth


@pytest.mark.parametrize("seed", [2, 3])
def test_no_object_is_lost_doubled_or_torn(tmp_path, seed):
    """Objects over every border and corner, nested ones, from 4 pixels to what the halo covers: each once, whole."""
    truth = draw_objects(seed)
    item = write_objects(tmp_path, truth, SHAPE)
    write_detector(tmp_path, Padding=HALO)
    result = run_item(tmp_path, item)
    found = rows_of(result.folder)
    assert len(truth) > 300
    assert sorted(found) == sorted(truth)
    assert result.item["properties"]["geodl:cut_objects"] == 0


def test_the_same_bytes_for_any_shards_threads_and_batches(crowd):
    """Shards, threads and batches change no byte of any file."""
    folder, item, truth = crowd
    detection = DetectionChoice(formats=("parquet", "gpkg", "geojson", "fgb"))
    runs = [
        run_item(folder, item, out="one", shards=1, means=Means(threads=1), detection=detection),
        run_item(folder, item, out="seven", shards=7, detection=detection),
        run_item(folder, item, out="many", shards=56, means=Means(batch_size=3), detection=detection),
    ]
    expected = data_files(runs[0].folder)
    assert {"detections.parquet", "detections.gpkg", "detections.geojson", "detections.fgb"} < set(expected)
    assert all(data_files(run.folder) == expected for run in runs)
    assert sorted(rows_of(runs[0].folder)) == sorted(truth)


def test_objects_larger_than_the_halo(tmp_path):
    """Beyond what the halo is sure of, objects come in pieces and the result says so; `merge_cut` makes them whole."""
    truth = [(30, 30, 330, 120, 0), (420, 40, 520, 400, 1), (600, 500, 1000 - 20, 840, 2), (100, 600, 380, 640, 0)]
    item = write_objects(tmp_path, truth, SHAPE)
    write_detector(tmp_path, Padding=HALO)
    torn = run_item(tmp_path, item, out="torn")
    assert torn.item["properties"]["geodl:cut_objects"] > 0
    assert sorted(rows_of(torn.folder)) != sorted(truth)
    whole = run_item(tmp_path, item, out="whole", detection=DetectionChoice(merge_cut=True))
    assert sorted(rows_of(whole.folder)) == sorted(truth)
    apart = run_item(tmp_path, item, out="apart", shards=9, detection=DetectionChoice(merge_cut=True))
    assert data_files(apart.folder) == data_files(whole.folder)


def test_max_object_decides_the_halo(tmp_path):
    """With --max-object objects of that size are whole, in pixels or in metres on the ground."""
    truth = draw_objects(5, largest=110, count=300)
    item = write_objects(tmp_path, truth, SHAPE, cell=0.5)
    write_detector(tmp_path)
    for number, largest in enumerate(("112", "112px", "55m")):
        result = run_item(tmp_path, item, out=f"out{number}", detection=DetectionChoice(max_object=largest))
        assert result.item["properties"]["geodl:halo_px"] == 64
        assert sorted(rows_of(result.folder)) == sorted(truth)


def test_a_halo_without_a_core(tmp_path):
    """A largest object that leaves no core is refused with the numbers."""
    item = write_objects(tmp_path, [(10, 10, 30, 30, 0)], (300, 300))
    write_detector(tmp_path)
    with pytest.raises(PlanError, match=r"halo of 158 pixels leaves no core of a tile of 256 × 256"):
        run_item(tmp_path, item, detection=DetectionChoice(max_object="300"))


def test_an_empty_scene(tmp_path, shared):
    """A scene without objects gives a valid empty table and Item."""
    item = write_objects(tmp_path, [], (300, 300))
    write_detector(tmp_path)
    result = run_item(tmp_path, item)
    table = gpd.read_parquet(result.folder / "detections.parquet")
    assert len(table) == 0
    assert {"geometry", "class_id", "class_name", "score"} <= set(table.columns)
    assert result.item["properties"]["geodl:detections"] == 0
    require_valid(json.loads(next(result.folder.glob("scene*.json")).read_text()), shared)


def test_turned_scaled_and_averaged(tmp_path):
    """Looks at a turned tile find the same objects, brought back to where they are."""
    truth = draw_objects(7, count=200, shape=(400, 400))
    item = write_objects(tmp_path, truth, (400, 400))
    # Turned, the distances that the scene tells are those of other sides: an untold network, found by its boxes alone.
    write_detector(tmp_path, Padding=HALO)
    plain = run_item(tmp_path, item)
    assert sorted(rows_of(plain.folder)) == sorted(truth)
    with pytest.raises(PlanError, match="tta_scales: 2 is larger than the 256 × 256 pixels"):
        run_item(
            tmp_path, item, out="scaled", test_time_augmentation=True, detection=DetectionChoice(tta_scales=(1.0, 2.0))
        )


def test_areas_of_interest_and_masks(tmp_path):
    """Objects whose centre lies outside the area of interest are left out; those inside are all there."""
    truth = draw_objects(11, count=600)
    item = write_objects(tmp_path, truth, SHAPE)
    write_detector(tmp_path, Padding=HALO)
    west, south, east, north = json.loads(item.read_text())["bbox"]
    middle = (west + east) / 2
    ring = [[middle, south - 1], [east + 1, south - 1], [east + 1, north + 1], [middle, north + 1], [middle, south - 1]]
    result = run_item(tmp_path, item, area=json.dumps({"type": "Polygon", "coordinates": [ring]}))
    found = rows_of(result.folder)
    assert set(found) <= set(truth)
    edge = SHAPE[1] / 2
    sure = [box for box in truth if (box[0] + box[2]) / 2 > edge + 40]
    # Meridians and columns of the grid are not parallel.
    never = [box for box in truth if (box[0] + box[2]) / 2 < edge - 40]
    assert set(sure) <= set(found)
    assert not set(never) & set(found)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"nms_overlap": 1.5}, "nms_overlap: expected 0 to 1"),
        ({"max_object": "large"}, "max_object: expected a length"),
        ({"formats": ("shp",)}, "format: expected one of parquet"),
        ({"tta_scales": (0.0,)}, "tta_scales: expected numbers above 0"),
    ],
)
def test_choices_outside_their_domain(keys, words):
    """What cannot be meant is refused by name."""
    with pytest.raises(InputError, match=words):
        DetectionChoice(**keys)


def test_a_stopped_run_goes_on(crowd):
    """Parts that are there are used; the result is the same."""
    folder, item, truth = crowd
    first = run_item(folder, item, out="first", shards=4)
    again = run_item(folder, item, out="first", shards=4)
    assert first.is_computed
    assert not again.is_computed
    assert sorted(rows_of(again.folder)) == sorted(truth)
    assert Path(again.folder / "preview.png").stat().st_size > 1000


def test_what_has_no_effect_is_no_other_job(crowd):
    """Arguments that change no byte of the result leave the job what it is; those that do make another."""
    folder, item, _ = crowd
    package = load_package(str(folder / "net.emd"))
    model, source = load_model(package), read_item(str(item))

    def job(compress="deflate", **choice):
        arguments = Arguments(compress=compress, detection=DetectionChoice(**choice))
        return plan_scene(source, model, arguments).plan.job_id

    assert job() == job(tta_scales=(0.5, 1.0)) == job(max_overlap_ratio=0.3) == job(compress="zstd")
    assert job(max_object="112") == job(max_object="112px")
    assert len({job(), job(run_nms=True), job(merge_cut=True), job(nms_overlap=0.2), job(crs="scene")}) == 5

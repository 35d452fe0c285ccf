"""The committed demo models against synthetic scenes whose truth is known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio

from commands import geodl_here
from harbour import draw_harbour
from harbour_objects import CLASSES as THINGS
from harbour_objects import LONGEST_PX
from make_harbour import make_harbour
from make_scene import BANDS, CLASSES, make_scene, read_scene

MODELS = Path(__file__).parents[2] / "scripts" / "models"
SIZE = 366
HARBOUR_SIZE = 1536
HELD_OUT_SEED = 42


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scene(tmp_path_factory.mktemp("scene"), SIZE, HELD_OUT_SEED).parent


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_harbour(tmp_path_factory.mktemp("harbour"), HARBOUR_SIZE, HELD_OUT_SEED).parent


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def definition(name: str) -> dict[str, Any]:
    return json.loads((MODELS / name / f"{name}.emd").read_text(encoding="utf-8"))


def infer(name: str, folder: Path, bands: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the model's output on the whole scene and the valid mask."""
    pixels, valid = read_scene(folder, bands)
    # The strides of the landcover model need sides divisible by 8.
    filler = [(0, -side % 8) for side in valid.shape]
    padded = np.pad(pixels, ((0, 0), *filler), constant_values=np.float32(-0.1))
    path = MODELS / name / definition(name)["ModelFile"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: padded[None]})
    return output[0, :, : valid.shape[0], : valid.shape[1]], valid


def test_landcover_finds_the_classes(scene: Path) -> None:
    """On a scene it has not seen, the landcover model names at least 88 % of the pixels as they were drawn."""
    logits, valid = infer("landcover", scene, tuple(band.common_name for band in BANDS))
    values = np.array([entry["Value"] for entry in definition("landcover")["Classes"]])
    truth = read(scene / "truth.tif")
    assert values.tolist() == list(CLASSES)
    assert (values[logits.argmax(axis=0)] == truth)[valid].mean() >= 0.88


def test_water_finds_the_water(scene: Path) -> None:
    """On a scene it has not seen, the water model's score above its threshold overlaps the water by 85 %."""
    score, valid = infer("water", scene, ("green", "nir"))
    found = score[0] >= definition("water")["Threshold"]
    drawn = read(scene / "truth.tif") == 10
    assert score.min() >= 0
    assert score.max() <= 1
    assert (found & drawn & valid).sum() / ((found | drawn) & valid).sum() >= 0.85


def test_harbour_finds_ships_tanks_and_cars(harbour: Path, tmp_path: Path) -> None:
    """Of a harbour it has not seen, a run finds 90 % of the objects, 85 % of each class; as much is right."""
    model = MODELS / "harbour" / "harbour.emd"
    done = geodl_here("run", harbour / "item.json", "--model", model, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    found = Path(json.loads(done.stdout)["folder"]) / "detections.parquet"
    judged = geodl_here("detections", "accuracy", harbour / "truth.geojson", found, "--json")
    report = json.loads(judged.stdout)
    assert [entry["name"] for entry in report["classes"]] == sorted(THINGS.values())
    for entry in (report["overall"], *report["classes"]):
        assert entry["truths"] > 20
        least = 0.9 if entry is report["overall"] else 0.85
        assert entry["precision"] > least, entry["name"]
        assert entry["recall"] > least, entry["name"]


def test_same_seed_same_harbour(harbour: Path, tmp_path: Path) -> None:
    """The same size and seed give the same image and truth, another seed gives others."""
    again = make_harbour(tmp_path / "again", HARBOUR_SIZE, HELD_OUT_SEED).parent
    other = make_harbour(tmp_path / "other", HARBOUR_SIZE, HELD_OUT_SEED + 1).parent
    for name in ("image.tif", "truth.geojson", "item.json"):
        assert (harbour / name).read_bytes() == (again / name).read_bytes()
        assert (harbour / name).read_bytes() != (other / name).read_bytes()


def test_truth_is_where_the_objects_are(harbour: Path) -> None:
    """The truth's boxes, brought back to the image's pixels, are those drawn; none is longer than the halo covers."""
    _, things = draw_harbour(np.random.default_rng(HELD_OUT_SEED), HARBOUR_SIZE)
    truth = gpd.read_file(harbour / "truth.geojson").to_crs("EPSG:32633")
    with rasterio.open(harbour / "image.tif") as image:
        west, south, east, north = truth.bounds.to_numpy().T
        found = np.stack([*(~image.transform @ (west, north)), *(~image.transform @ (east, south))], axis=1)
    drawn = np.array([thing.box for thing in things])
    np.testing.assert_allclose(found, drawn, atol=0.1)
    longest = (drawn[:, 2:] - drawn[:, :2]).max()
    assert longest <= LONGEST_PX <= 2 * (definition("harbour")["Padding"] - 8)


def test_harbour_too_small(tmp_path: Path) -> None:
    """A size without room for a harbour is refused before anything is written."""
    with pytest.raises(ValueError, match="at least 512"):
        make_harbour(tmp_path / "harbour", 256)
    assert not (tmp_path / "harbour").exists()


@pytest.mark.parametrize("name", ["landcover", "water", "harbour"])
def test_models_are_plain_files(name: str) -> None:
    """A demo model is one small opset 17 file of free batch, height and width that tells nothing of its maker."""
    path = MODELS / name / f"{name}.onnx"
    model = onnx.load(path)
    free = [axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert path.stat().st_size <= 400_000
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert free == ["batch", "", "height", "width"]
    assert not model.metadata_props
    assert not model.doc_string
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


@pytest.mark.parametrize("name", ["landcover", "water"])
def test_pixels_see_no_farther_than_the_padding(name: str) -> None:
    """A change of one input pixel reaches no output pixel farther away than the definition's Padding."""
    padding = definition(name)["Padding"]
    path = MODELS / name / f"{name}.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    bands = session.get_inputs()[0].shape[1]
    pixels = np.random.default_rng(0).uniform(0, 0.5, (1, bands, 160, 160)).astype(np.float32)
    before = session.run(None, {"reflectance": pixels})[0]
    for at in (80, 83, 87):
        touched = pixels.copy()
        touched[..., at, at] += 5
        changed = np.argwhere((session.run(None, {"reflectance": touched})[0] != before).any(axis=(0, 1)))
        assert 0 < np.abs(changed - at).max() <= padding


def test_same_seed_same_pixels(scene: Path, tmp_path: Path) -> None:
    """The same size and seed give the same pixels in every band and the truth, another seed gives others."""
    again = make_scene(tmp_path / "again", SIZE, HELD_OUT_SEED).parent
    other = make_scene(tmp_path / "other", SIZE, HELD_OUT_SEED + 1).parent
    for name in (*(band.name for band in BANDS), "truth"):
        drawn = read(scene / f"{name}.tif")
        np.testing.assert_array_equal(drawn, read(again / f"{name}.tif"))
        assert (drawn != read(other / f"{name}.tif")).any()


def test_corner_is_nodata_in_all_bands(scene: Path) -> None:
    """One slanted corner is nodata, in the same place in each band and in the truth."""
    truth = read(scene / "truth.tif")
    starts = np.argmax(truth != 0, axis=1)
    assert starts[0] > 0
    assert starts[-1] == 0
    assert (np.diff(starts) <= 0).all()
    for band in BANDS:
        cells = np.ones((band.cell_px, band.cell_px), bool)
        np.testing.assert_array_equal(np.kron(read(scene / f"{band.name}.tif") == 0, cells), truth == 0)


def test_bands_have_their_resolutions(scene: Path) -> None:
    """Bands come at 10, 20 and 60 m over exactly the same ground, as the Item says."""
    assets = json.loads((scene / "item.json").read_text(encoding="utf-8"))["assets"]
    bounds = set()
    for band in BANDS:
        asset = assets[band.common_name]
        with rasterio.open(scene / asset["href"]) as source:
            assert source.res[0] == asset["gsd"] == 10 * band.cell_px
            assert list(source.shape) == asset["proj:shape"]
            assert list(source.transform)[:6] == asset["proj:transform"]
            assert source.dtypes == ("uint16",)
            bounds.add(source.bounds)
    assert {asset["gsd"] for asset in assets.values()} == {10, 20, 60}
    assert len(bounds) == 1


def test_item_tells_size_and_checksum(scene: Path) -> None:
    """Each asset's size and SHA-256 multihash are those of its file."""
    assets = json.loads((scene / "item.json").read_text(encoding="utf-8"))["assets"]
    for asset in assets.values():
        content = (scene / asset["href"]).read_bytes()
        assert asset["file:size"] == len(content)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()


def test_truth_is_a_reference_not_data(scene: Path) -> None:
    """The truth has the role `reference` alone, so that nothing takes it for a band."""
    assets = json.loads((scene / "item.json").read_text(encoding="utf-8"))["assets"]
    assert assets["truth"]["roles"] == ["reference"]
    assert set(np.unique(read(scene / "truth.tif"))) == {0, *CLASSES}


@pytest.mark.parametrize("size", [0, 60, 365, 368])
def test_size_must_fit_all_resolutions(size: int, tmp_path: Path) -> None:
    """A size that is no multiple of 60 m, or too small for a landscape, is refused before anything is written."""
    with pytest.raises(ValueError, match="multiple of 6"):
        make_scene(tmp_path / "scene", size)
    assert not (tmp_path / "scene").exists()

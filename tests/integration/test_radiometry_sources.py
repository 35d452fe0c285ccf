"""Values of one acquisition from several catalogues, whole runs: the same reflectance, doubts said and recorded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rasterio

from commands import geodl
from geodl_core.domain.plan.job import Arguments
from geodl_core.engine.load_model import load_model
from geodl_core.engine.plan_scene import plan_scene
from geodl_core.errors import ModelError
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from networks import conv_network, write_emd
from runs import raster, run_item
from scenes import smooth, write_raster

C1 = "earthsearch-v1_sentinel-2-c1-l2a_S2B_T20EPT_20250731"
L2A = "earthsearch-v1_sentinel-2-l2a_S2B_20EPT_20250731"
COLOURS = ("red", "green", "blue", "nir")
BANDS = ["Red", "Green", "Blue", "NearInfrared"]


def reflectances(shape: tuple[int, int] = (200, 260)) -> np.ndarray:
    """Return (4, h, w) ten thousandths of reflectance, 0 (dark) in places, with smooth structure."""
    return np.stack([smooth(shape, seed) for seed in range(4)]).astype("uint16") - 1


def write_copy(
    shared: Path, folder: Path, name: str, stored: np.ndarray, tags: bool = False, **properties: Any
) -> Path:
    """Write a fixture Item whose four bands are rasters here, with GDAL's scale and offset where `tags`."""
    item = json.loads((shared / "fixtures" / "stac" / f"{name}.json").read_text())
    item["properties"] |= properties
    for key, values in zip(COLOURS, stored, strict=True):
        path = write_raster(folder / f"{name}_{key}.tif", values[None], nodata=0)
        if tags:
            with rasterio.open(path, "r+") as dataset:
                dataset.scales, dataset.offsets = (1e-4,), (-0.1,)
        item["assets"][key] = {
            field: value for field, value in item["assets"][key].items() if field not in ("file:checksum", "file:size")
        } | {"href": str(path)}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(item))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    conv_network(tmp_path / "net.onnx", channels=4)
    write_emd(tmp_path, ExtractBands=BANDS, DataRange=[0, 4000])
    write_emd(tmp_path, name="plain.emd", ExtractBands=BANDS)
    return tmp_path


def values_of(planned: Any, stored: np.ndarray) -> np.ndarray:
    radiometry = planned.radiometry
    scale, offset = (np.reshape(numbers, (-1, 1, 1)) for numbers in (radiometry.scale, radiometry.offset))
    return stored * scale + offset


@pytest.mark.shared
def test_two_copies_of_one_acquisition(shared: Path, folder: Path) -> None:
    """Collection 1 (offset in the pixels and in GDAL's tags) and `sentinel-2-l2a` (offset gone from the pixels, not
    from the metadata) give the same reflectance, and the same classes to the last pixel of scores apart."""
    dark = reflectances() + 1
    copies = {C1: dark + 1000, L2A: dark}
    found = {}
    model = load_model(load_package(str(folder / "net.emd")))
    for name, stored in copies.items():
        item = write_copy(shared, folder, name, stored, tags=name == C1)
        planned = plan_scene(read_item(str(item)), model, Arguments(radiometry="reflectance", source_range=(0, 1)))
        np.testing.assert_allclose(values_of(planned, stored), dark * 1e-4 * 4000, rtol=1e-9, atol=1e-9)
        result = run_item(folder, item, f"out-{name}", probabilities="float32")
        found[name] = (raster(result), raster(result, "probabilities.tif"), result.item["properties"])
    (one, one_scores, one_said), (other, other_scores, other_said) = found.values()
    np.testing.assert_allclose(one_scores, other_scores, atol=1e-4)
    margin = np.diff(np.sort(one_scores, axis=0)[-2:], axis=0)[0]
    assert (one[0] == other[0])[margin > 1e-3].all()
    assert one_said["geodl:radiometry"]["kind"] == other_said["geodl:radiometry"]["kind"] == "reflectance"
    assert one_said["geodl:radiometry"]["rule"].endswith("(sentinel-2-c1-l2a holds ESA's values)")
    assert "earthsearch:boa_offset_applied is true" in other_said["geodl:radiometry"]["rule"]
    assert "geodl:warnings" not in one_said


@pytest.mark.shared
def test_harmonised_copies(shared: Path, folder: Path) -> None:
    """Harmonised values of both copies give the same bytes; values below the offset become 0 and do not wrap."""
    dark = reflectances() + 1
    held = dark + 1000
    held[:, :40] = 990
    gone = dark.copy()
    gone[:, :40] = 0
    items = [write_copy(shared, folder, C1, held), write_copy(shared, folder, L2A, gone)]
    one, other = (
        run_item(folder, item, item.stem, emd="plain.emd", radiometry="dn_harmonised", probabilities="float32")
        for item in items
    )
    assert one.item["properties"]["geodl:radiometry"]["floor"] == [1000.0] * 4
    # What is 0 is nodata in the copy without the offset; the halo of it is left out of the comparison.
    a, b = raster(one, "probabilities.tif"), raster(other, "probabilities.tif")
    assert np.isfinite(a).all()
    assert np.isnan(b[:, :40]).all()
    np.testing.assert_array_equal(a[:, 40:], b[:, 40:])
    np.testing.assert_array_equal(a[:, 5:30, 5:-5], np.broadcast_to(a[:, 10:11, 10:11], a[:, 5:30, 5:-5].shape))


@pytest.mark.shared
def test_doubt_is_said_and_recorded(shared: Path, folder: Path) -> None:
    """Pixels too low to hold the offset that is subtracted raise a warning, in the report and the output Item; the
    decision stays, and --strict refuses."""
    item = write_copy(shared, folder, L2A, reflectances() // 4 + 1, **{"earthsearch:boa_offset_applied": False})
    result = geodl("run", item.name, "--model", "net.emd", "--out", "out", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "warning  Sentinel-2's offset of 1000 is subtracted, but seems to be off the pixels already" in result.stderr
    assert "values   reflectance, (0.0, 1.0) → (0.0, 4000.0): scale 0.0001, Sentinel-2's offset" in result.stderr
    (path,) = (folder / "out").rglob("S2B*.json")
    said = json.loads(path.read_text())["properties"]
    assert said["geodl:radiometry"]["offset"] == [-400.0] * 4
    assert "found red" in said["geodl:warnings"][0]
    refused = geodl("run", item.name, "--model", "net.emd", "--out", "other", "--strict", cwd=folder)
    assert refused.returncode == 2
    assert "seems to be off the pixels already" in refused.stderr
    assert not list((folder / "other").rglob("*.tif"))


@pytest.mark.shared
def test_misfits_are_recorded(shared: Path, folder: Path) -> None:
    """Another sensor, cell size and range of values than the model was made for are said in the output Item."""
    cell = {"x": 0.5, "y": 0.5, "spatialReference": {"wkid": 32633, "latestWkid": 32633}}
    stats = [{"BandName": name, "Min": 0, "Max": 255, "Mean": 90, "StdDev": 30} for name in BANDS]
    keys = {"InputRastersProps": {"SensorName": "WorldView-3"}, "MinCellSize": cell, "MaxCellSize": cell}
    write_emd(folder, name="other.emd", ExtractBands=BANDS, AllTilesStats=stats, **keys)
    item = write_copy(shared, folder, C1, reflectances() + 1001)
    said = run_item(folder, item, emd="other.emd").item["properties"]["geodl:warnings"]
    assert [sentence.split(":")[0] for sentence in said] == [
        "sensor",
        "cell size",
        *(f"values of band {b}" for b in BANDS),
    ]


@pytest.mark.shared
def test_harmonised_in_an_early_opset(shared: Path, folder: Path) -> None:
    """A network of an opset that cannot clamp band by band is refused by name, with the way out."""
    proto = onnx.load(folder / "net.onnx")
    proto.opset_import[0].version = 7
    onnx.save(proto, folder / "net.onnx")
    item = write_copy(shared, folder, C1, reflectances() + 1001)
    with pytest.raises(ModelError, match="dn_harmonised needs a network of ONNX opset 8 or later, found 7"):
        run_item(folder, item, emd="plain.emd", radiometry="dn_harmonised")


@pytest.mark.shared
def test_a_plan_keeps_rule_and_warnings(shared: Path, folder: Path) -> None:
    """A run in stages records the same rule and warnings as one in one process, of bands with and without a floor."""
    conv_network(folder / "two.onnx")
    write_emd(folder, "two.onnx", "two.emd", ExtractBands=["B04", "wvp"], InputRastersProps={"SensorName": "Landsat 8"})
    item = write_copy(shared, folder, C1, reflectances() + 1001)
    document = json.loads(item.read_text())
    document["assets"]["wvp"]["href"] = str(write_raster(folder / "wvp.tif", reflectances()[:1] + 1, nodata=0))
    item.write_text(json.dumps(document))
    options = ("--model", "two.emd", "--radiometry", "dn_harmonised", "--out", "out")
    whole = run_item(folder, item, "whole", emd="two.emd", radiometry="dn_harmonised")
    planned = geodl("plan", item.name, *options, cwd=folder)
    assert planned.returncode == 0, planned.stderr
    assert "what is lower becomes 0 (sentinel-2-c1-l2a holds ESA's values); wvp: values as stored" in planned.stdout
    assert "warning  sensor: the model was made for Landsat 8" in planned.stdout
    (plan,) = (folder / "out").rglob("plan.json")
    for words in (("shard", plan, 0, 1), ("merge", plan, "--shards", 1), ("register", plan)):
        result = geodl(*words, cwd=folder)
        assert result.returncode == 0, result.stderr
    (path,) = (folder / "out").rglob("S2B*.json")
    said, expected = json.loads(path.read_text())["properties"], whole.item["properties"]
    for key in ("geodl:job_id", "geodl:radiometry", "geodl:warnings"):
        assert said[key] == expected[key]
    assert said["geodl:radiometry"]["floor"] == [1000.0, None]

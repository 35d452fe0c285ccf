"""What a review found wrong once: errors while threads read, many shards, odd nodata, secrets, narrow cores."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
from onnx import TensorProto, helper

from commands import geodl
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.plan.tiling import choose_tiling
from geodl_core.engine.load_model import load_model
from geodl_core.engine.plan_scene import plan_scene
from geodl_core.engine.run_scene import RunRequest, run_scene
from geodl_core.errors import GeodlError
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from items import write_item
from networks import conv_network, write_emd
from scenes import smooth, write_raster, write_scene


@pytest.fixture
def folder(tmp_path):
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path


def plan_of(folder, item):
    return plan_scene(read_item(str(item)), load_model(load_package(str(folder / "net.emd"))), Arguments())


def class_map(folder, item, out="out"):
    package = load_package(str(folder / "net.emd"))
    request = RunRequest(read_item(str(item)), package, load_model(package), Arguments(), folder / out)
    with SqliteCatalog(folder / f"{out}.db") as catalog:
        result = run_scene(request, catalog, lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda event: None)
    with rasterio.open(result.folder / "classification.tif") as dataset:
        return dataset.read(1)


FULL = """
import sys
from geodl_core.io.parts import parts
from geodl_core.cli import main
def refuse(self, name, payload, half):
    raise OSError(28, "No space left on device")
parts.PartWriter.add_final = refuse
sys.argv = ["geodl", *sys.argv[1:]]
main.main()
"""


def test_an_error_while_threads_read(folder):
    """A disk that is full in the middle of a large run ends with code 75, never in a crash of the process."""
    item, _ = write_scene(folder, (2000, 2000))
    for attempt in range(3):
        arguments = ["run", item, "-m", folder / "net.emd", "-o", folder / f"out{attempt}", "--threads", "6"]
        command = [sys.executable, "-W", "ignore", "-c", FULL, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 75, done.stderr


MANY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from geodl_core.cli import main
sys.argv = ["geodl", *sys.argv[1:]]
main.main()
"""


def test_many_shards_need_few_files(folder):
    """The number of open files follows from the threads, not from the shards."""
    item, _ = write_scene(folder, (1200, 1200))
    arguments = ["run", item, "-m", folder / "net.emd", "-o", folder / "out", "--shards", "400", "--threads", "2"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MANY, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nodata_of_the_item_makes_another_job(folder):
    """Adding the missing nodata to an Item is another job: its result is computed, not found."""
    raster = write_raster(folder / "scene.tif", np.stack([smooth((90, 90), 1), smooth((90, 90), 2)]))
    plain = plan_of(folder, write_item(folder, {"image": {"href": raster}}))
    said = plan_of(folder, write_item(folder, {"image": {"href": raster, "nodata": 0}}))
    assert plain.plan.job_id != said.plan.job_id


def test_mask_and_nodata_are_both_meant(folder):
    """Where a file has a mask and the Item a nodata, a pixel must pass both, and no live tile is skipped."""
    pixels = np.stack([smooth((400, 400), 1), smooth((400, 400), 2)])
    pixels[:, :150, :150] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        raster = write_raster(folder / "scene.tif", pixels)
        mask = np.full((400, 400), 255, "uint8")
        mask[300:, 300:] = 0
        with rasterio.open(raster, "r+") as dataset:
            dataset.write_mask(mask)
    found = class_map(folder, write_item(folder, {"image": {"href": raster, "nodata": 0}}))
    expected = (pixels != 0).all(0) & (mask > 0)
    assert np.array_equal(found != 255, expected)


def test_every_band_has_its_own_nodata(folder):
    """A raster whose bands have different nodata values is judged band by band."""
    pixels = np.stack([smooth((120, 120), 1), smooth((120, 120), 2)])
    pixels[1, :40] = 7
    names = []
    for number, nodata in ((0, 65535), (1, 7)):
        names.append(write_raster(folder / f"b{number}.tif", pixels[number : number + 1], nodata=nodata).name)
    source = (
        "<SimpleSource><SourceFilename relativeToVRT='1'>{}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
    )
    bands = "".join(
        f"<VRTRasterBand dataType='UInt16' band='{number + 1}'><NoDataValue>{nodata}</NoDataValue>"
        f"{source.format(names[number])}</VRTRasterBand>"
        for number, nodata in ((0, 65535), (1, 7))
    )
    with rasterio.open(folder / "b0.tif") as dataset:
        place = ", ".join(map(str, dataset.transform.to_gdal()))
    vrt = folder / "both.vrt"
    vrt.write_text(
        f"<VRTDataset rasterXSize='120' rasterYSize='120'><SRS>EPSG:32633</SRS>"
        f"<GeoTransform>{place}</GeoTransform>{bands}</VRTDataset>"
    )
    found = class_map(folder, write_item(folder, {"image": {"href": vrt}}))
    assert np.array_equal(found != 255, (pixels[0] != 65535) & (pixels[1] != 7))


def test_catalog_secrets_stay_secret(folder):
    """Credentials of a catalog's address are in no error."""
    done = geodl("run", "x.json", "-m", "nosuchmodel", "--catalog", "http://user:hunter2@127.0.0.1:9/v1?key=hunter2")
    assert done.returncode in (2, 75)
    assert "hunter2" not in done.stderr


def test_cores_are_not_narrow(folder):
    """A wide halo gets a core at least as wide as the halo on both sides, where the size is free."""
    write_emd(folder, Padding=200)
    tiling = choose_tiling(load_model(load_package(str(folder / "net.emd"))), Arguments())
    assert min(tiling.core_px) >= 2 * tiling.halo_px


def test_scores_behind_a_resize_are_scores(folder):
    """A sigmoid that is followed by a resize is not applied again."""
    nodes = [
        helper.make_node("Slice", ["x", "s", "e", "a"], ["b"]),
        helper.make_node("Sigmoid", ["b"], ["c"]),
        helper.make_node("Resize", ["c", "", "k"], ["y"], mode="nearest"),
    ]
    weights = {"s": np.array([0]), "e": np.array([1]), "a": np.array([1]), "k": np.ones(4, "float32")}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    write_emd(folder, Classes=[{"Value": 1, "Name": "one"}])
    assert load_model(load_package(str(folder / "net.emd"))).is_activated


ODD = [None, 1, "x", [], {}, ["red"], [None], [[1]], {"a": 1}, True, 1e400, -0.0]


@pytest.mark.parametrize("key", ["bands", "eo:bands", "raster:bands", "statistics", "roles", "type", "nodata", "gsd"])
def test_odd_metadata_is_no_fault(folder, key):
    """Whatever an asset's metadata holds, a run is planned or refused in plain words."""
    item, _ = write_scene(folder, (60, 60))
    document = json.loads(Path(item).read_text())
    for value in ODD:
        document["assets"]["image"][key] = value
        Path(item).write_text(json.dumps(document))
        try:
            plan_of(folder, item)
        except GeodlError as error:
            assert error.message


def test_error_lines_are_lines(folder):
    """Names that hold line ends or what steers a terminal come out as one harmless line."""
    item, _ = write_scene(folder, (60, 60))
    document = json.loads(Path(item).read_text())
    document["id"] = "a\nb\x1b[31m"
    Path(item).write_text(json.dumps(document))
    write_emd(folder, ExtractBands=["Nowhere"])
    done = geodl("run", item, "-m", folder / "net.emd", "-o", folder / "out")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error")]) == 1

"""A whole run in one process: what comes out, and that it does not depend on how it was computed."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rio_cogeo.cogeo import cog_validate

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.query import ItemQuery
from geodl_core.engine.load_model import load_model
from geodl_core.engine.open_worker import Means
from geodl_core.engine.run_scene import RunRequest, run_scene
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from items import write_item
from networks import CLASSES, conv_network, run_whole, write_emd
from scenes import smooth, write_raster, write_scene

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VALUES = np.array([entry["Value"] for entry in CLASSES], "uint8")


@pytest.fixture
def scene(tmp_path):
    item, pixels = write_scene(tmp_path)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path, item, pixels


def request_for(folder, item, out="out", **more):
    arguments = more.pop("arguments", Arguments())
    package = load_package(str(folder / more.pop("emd", "net.emd")))
    means = Means(**{name: more.pop(name) for name in ("threads", "batch_size", "max_memory_bytes") if name in more})
    return RunRequest(read_item(str(item)), package, load_model(package), arguments, folder / out, means=means, **more)


def run(request):
    with SqliteCatalog(request.out.parent / f"{request.out.name}.db") as catalog:
        return run_scene(request, catalog, lambda: NOW, lambda event: None)


def class_map(result):
    with rasterio.open(result.folder / "classification.tif") as dataset:
        return dataset.read(1)


def data_bytes(result):
    names = ("classification.tif", "classification.tif.aux.xml", "preview.png", "model.emd")
    return {name: (result.folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("tile", [64, 96, 160, 1024])
def test_tiled_equals_whole(tmp_path, tile):
    """A tiled run gives the class of whole-image inference at every valid pixel, at the scene's border too."""
    item, pixels = write_scene(tmp_path, (320, 416))
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    found = class_map(run(request_for(tmp_path, item, arguments=Arguments(tile_size_px=tile))))
    expected = VALUES[run_whole(tmp_path / "net.onnx", pixels)]
    valid = (pixels != 0).all(0)
    assert np.array_equal(found[valid], expected[valid])
    assert (found[~valid] == 255).all()


@pytest.mark.parametrize(("pad", "mode"), [("reflect", "reflect"), ("edge", "edge"), ("constant", "constant")])
@pytest.mark.parametrize("tile", [96, 512])
def test_pads(scene, pad, mode, tile):
    """`reflect` mirrors the scene, `edge` repeats its border, `constant` shows zeros, in tiles of any size."""
    folder, item, pixels = scene
    padded = np.pad(pixels, ((0, 0), (8, 8), (8, 8)), mode=mode)
    expected = VALUES[run_whole(folder / "net.onnx", padded)[8:-8, 8:-8]]
    valid = (pixels != 0).all(0)
    found = class_map(run(request_for(folder, item, arguments=Arguments(pad=pad, tile_size_px=tile))))
    assert np.array_equal(found[valid], expected[valid])


def test_same_bytes_however_computed(scene):
    """Any number of shards and threads gives the same bytes in every data file."""
    folder, item, _ = scene
    arguments = Arguments(tile_size_px=96)
    first = run(request_for(folder, item, out="one", arguments=arguments, shards=1, threads=1))
    for shards, threads in ((2, 2), (7, 1), (1000, 3)):
        out = f"out{shards}"
        other = run(request_for(folder, item, out=out, arguments=arguments, shards=shards, threads=threads))
        assert data_bytes(other) == data_bytes(first)
        assert other.item["id"] == first.item["id"]


def test_fixed_size_and_batch(scene):
    """A graph that takes only 64 × 64 pixels and batches of 3 gives the same classes as one that takes any."""
    folder, item, _ = scene
    conv_network(folder / "fixed.onnx", sizes=(3, 64, 64))
    write_emd(folder, "fixed.onnx", "fixed.emd")
    fixed = class_map(run(request_for(folder, item, out="fixed", emd="fixed.emd")))
    free = class_map(run(request_for(folder, item, out="free", arguments=Arguments(pad="reflect"))))
    assert np.array_equal(fixed, free)


def test_several_resolutions(tmp_path):
    """A band of twice the cell size is interpolated between pixel centres, alike in every tile."""
    fine, coarse = smooth((240, 300), 1), smooth((120, 150), 2)
    assets = {
        "red": {"href": write_raster(tmp_path / "fine.tif", fine[None])},
        "swir16": {"href": write_raster(tmp_path / "coarse.tif", coarse[None], cell=20.0)},
    }
    item = write_item(tmp_path, assets)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path, ExtractBands=["Red", "ShortWaveInfrared"])
    result = run(request_for(tmp_path, item, arguments=Arguments(tile_size_px=96)))
    with rasterio.open(tmp_path / "fine.tif") as dataset:
        place = {"crs": dataset.crs, "transform": dataset.transform, "height": 240, "width": 300}
    with (
        rasterio.open(tmp_path / "coarse.tif") as dataset,
        WarpedVRT(dataset, **place, resampling=Resampling.bilinear, tolerance=1e-6, dtype="float32") as warped,
    ):
        oracle = np.stack([fine.astype("float32"), warped.read(1)])
    expected = VALUES[run_whole(tmp_path / "net.onnx", oracle)]
    agreement = (class_map(result) == expected)[8:-8, 8:-8].mean()
    assert agreement >= 0.9999
    assert result.item["properties"]["proj:shape"] == [240, 300]


def test_cog_is_valid_and_described(scene):
    """The result is a strictly valid COG on the source's grid, with colours, nodata and the counts of its pixels."""
    folder, item, _ = scene
    result = run(request_for(folder, item))
    path = result.folder / "classification.tif"
    is_valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
    assert is_valid, (errors, warnings)
    with rasterio.open(path) as dataset, rasterio.open(folder / "scene.tif") as source:
        assert (dataset.crs, dataset.transform, dataset.shape) == (source.crs, source.transform, source.shape)
        assert (dataset.dtypes, dataset.nodata) == (("uint8",), 255)
        assert dataset.colormap(1)[7][:3] == (70, 80, 90)
        values = dataset.read(1)
    classes = result.item["assets"]["classification"]["classification:classes"]
    assert {entry["value"]: entry["count"] for entry in classes} == {
        int(value): int((values == value).sum()) for value in VALUES
    }
    assert sorted(result.folder.rglob("*.tif")) == [path]
    assert not (result.folder / "parts").exists()


def test_repeated_run_does_nothing(scene):
    """A finished run repeated returns its Item and touches no file; --force computes anew, to the same bytes."""
    folder, item, _ = scene
    request = request_for(folder, item)
    first = run(request)
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    again = run(request)
    assert not again.is_computed
    assert again.item == first.item
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before
    content = data_bytes(first)
    forced = run(replace(request, is_forced=True))
    assert forced.is_computed
    assert data_bytes(forced) == content


def test_lost_file_is_computed_again(scene):
    """A registered result whose file was lost or cut short is computed again."""
    folder, item, _ = scene
    first = run(request_for(folder, item))
    content = data_bytes(first)
    (first.folder / "classification.tif").write_bytes(content["classification.tif"][:1000])
    assert run(request_for(folder, item)).is_computed
    assert data_bytes(first) == content


def test_parts_are_kept_on_request(scene):
    """--keep-parts leaves the parts, which hold every tile once."""
    folder, item, _ = scene
    result = run(request_for(folder, item, arguments=Arguments(tile_size_px=64), shards=3, keeps_parts=True))
    assert len(list((result.folder / "parts").glob("*.part"))) == 3


def test_newer_result_follows_older(scene):
    """A result of the same source, model and arguments links its predecessor and marks it deprecated."""
    folder, item, pixels = scene
    old = run(request_for(folder, item)).item
    write_raster(folder / "scene.tif", pixels[:, ::-1], nodata=0)
    new = run(request_for(folder, item)).item
    assert new["id"] != old["id"]
    with SqliteCatalog(folder / "out.db") as catalog:
        items = {found["id"]: found for found in catalog.search(ItemQuery()).items}
    links = {link["rel"]: link["href"] for link in items[new["id"]]["links"]}
    assert old["id"] in links["predecessor-version"]
    assert items[old["id"]]["properties"]["deprecated"] is True
    assert items[new["id"]]["properties"]["deprecated"] is False
    assert any(link["rel"] == "successor-version" for link in items[old["id"]]["links"])


def test_other_arguments_stand_beside(scene):
    """A result with other arguments, such as an area, does not make the one without them out of date."""
    folder, item, _ = scene
    run(request_for(folder, item))
    run(request_for(folder, item, arguments=Arguments(pad="edge")))
    with SqliteCatalog(folder / "out.db") as catalog:
        assert not any(found["properties"]["deprecated"] for found in catalog.search(ItemQuery()).items)


def test_job_id_follows_content_not_place(scene):
    """Moving the scene changes nothing; other pixels give another job."""
    folder, item, pixels = scene
    first = run(request_for(folder, item)).item["properties"]["geodl:job_id"]
    moved = folder / "moved"
    moved.mkdir()
    (folder / "scene.tif").rename(moved / "scene.tif")
    document = json.loads(item.read_text())
    document["assets"]["image"]["href"] = "./scene.tif"
    (moved / "scene.json").write_text(json.dumps(document))
    assert run(request_for(folder, moved / "scene.json")).item["properties"]["geodl:job_id"] == first
    write_raster(moved / "scene.tif", pixels + 1, nodata=0)
    assert run(request_for(folder, moved / "scene.json")).item["properties"]["geodl:job_id"] != first


def test_empty_scene_gives_empty_result(tmp_path):
    """A scene that is nodata throughout gives a valid class map of nodata, without inference."""
    raster = write_raster(tmp_path / "scene.tif", np.zeros((2, 200, 200), "uint16"), nodata=0)
    item = write_item(tmp_path, {"image": {"href": raster}})
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    result = run(request_for(tmp_path, item))
    assert (class_map(result) == 255).all()
    assert result.item["properties"]["geodl:valid_percentage"] == 0


def test_tiny_scene(tmp_path):
    """A scene smaller than a tile, even of a few pixels, is classified whole."""
    pixels = np.stack([smooth((7, 5), 1), smooth((7, 5), 2)])
    item = write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "scene.tif", pixels)}})
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    padded = np.pad(pixels, ((0, 0), (8, 8), (8, 8)), mode="reflect")
    expected = VALUES[run_whole(tmp_path / "net.onnx", padded)[8:-8, 8:-8]]
    assert np.array_equal(class_map(run(request_for(tmp_path, item, arguments=Arguments(pad="reflect")))), expected)


@pytest.mark.parametrize(
    "name", ["../../../escape", "/tmp/abs", "a/b", "..", "C:\\x", "сцена/1", "x" * 300, " ", "con.\n"]
)
def test_ids_of_anybody_stay_inside(scene, name):
    """Whatever the ids of Item and Collection hold, every file of the result lies below --out, side by side."""
    folder, item, _ = scene
    document = json.loads(item.read_text())
    document["id"] = name
    item.write_text(json.dumps(document))
    outside = {path for path in folder.rglob("*") if path != folder / "out"}
    result = run(request_for(folder, item, out="out", collection=name))
    assert result.item["id"].startswith(name)
    (folder_found,) = {path.parent for path in (folder / "out").rglob("classification.tif")}
    assert folder_found.parent.parent == folder / "out"
    assert len(list(folder_found.glob("*.json"))) == 1
    new = {path for path in folder.rglob("*") if not path.is_relative_to(folder / "out")} - outside
    assert all(path.name.startswith("out.db") for path in new)


def test_collection_can_be_browsed(scene):
    """The Collection beside the results leads to their Items without any catalog."""
    folder, item, _ = scene
    result = run(request_for(folder, item))
    collection = pystac.Collection.from_file(str(result.folder.parent / "collection.json"))
    assert [found.id for found in collection.get_items()] == [result.item["id"]]
    assert "count" not in str(collection.to_dict()["item_assets"])


def test_foreign_collection_is_widened(scene):
    """A Collection that somebody else made keeps its extensions and open end, and takes boxes with heights."""
    folder, item, _ = scene
    extent = {"spatial": {"bbox": [[0, 0, 0, 1, 1, 9]]}, "temporal": {"interval": [["2019-01-01T00:00:00Z", None]]}}
    made = {"type": "Collection", "id": "mine", "stac_extensions": ["https://x/y.json"], "extent": extent}
    with SqliteCatalog(folder / "out.db") as catalog:
        catalog.put_collection(made)
    run(request_for(folder, item, collection="mine"))
    with SqliteCatalog(folder / "out.db") as catalog:
        found = catalog.get_collection("mine")
    assert "https://x/y.json" in found["stac_extensions"]
    assert found["extent"]["temporal"]["interval"] == [["2019-01-01T00:00:00Z", None]]
    west, south, east, north = found["extent"]["spatial"]["bbox"][0]
    assert (west, south) == (0, 0)
    assert east > 12
    assert north > 47

"""The output Item and Collection: valid, complete, readable by others."""

import hashlib
import json
import shlex
import subprocess
from pathlib import Path

import pystac
import pytest
import rasterio

from commands import geodl, run_json
from geodl_core.catalog.sqlite import SqliteCatalog
from networks import CLASSES, conv_network, write_emd
from scenes import write_scene
from schemas import require_valid


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    item, _ = write_scene(folder)
    conv_network(folder / "net.onnx")
    emd = write_emd(folder)
    return run_json(item, "-m", emd, "-o", folder / "out", "--arg", "tile_size=160", "--pad", "edge") | {
        "work": folder,
        "source": str(item),
    }


def documents(result):
    """Return the Item beside the files and the one in the catalog."""
    beside = json.loads(Path(result["item"]).read_text())
    with SqliteCatalog(result["catalog"]) as catalog:
        return beside, catalog.get_item(result["collection"], result["id"])


@pytest.mark.shared
def test_documents_are_valid(result, shared):
    """Item (beside the files and in the catalog) and Collection are valid STAC 1.1 with every extension they name."""
    for item in documents(result):
        applied = require_valid(item, shared)
        assert set(item["stac_extensions"]) <= set(applied)
        assert item["stac_version"] == "1.1.0"
    with SqliteCatalog(result["catalog"]) as catalog:
        require_valid(catalog.get_collection(result["collection"]), shared)


def test_every_asset_has_its_checksum(result):
    """Size and checksum of every asset are those of the file that its href leads to."""
    beside, catalogued = documents(result)
    base = pystac.Item.from_file(result["item"])
    for key, asset in catalogued["assets"].items():
        content = Path(asset["href"]).read_bytes()
        assert asset["file:size"] == len(content)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert base.assets[key].get_absolute_href() == asset["href"]
        assert beside["assets"][key]["href"].startswith("./")


def test_provenance_is_complete(result):
    """The Item names its source, model, arguments and software, and a command that gives the same bytes again."""
    beside, _ = documents(result)
    properties = beside["properties"]
    derived = {link["href"]: link for link in beside["links"] if link["rel"] == "derived_from"}
    assert result["source"] in derived
    assert any(link.get("mlm:name") == "net" for link in derived.values())
    assert properties["geodl:arguments"]["tile_size"] == 160
    assert properties["geodl:arguments"]["pad"] == "edge"
    assert properties["processing:software"]["geodl"]
    words = shlex.split(properties["geodl:rerun"])
    assert words[0] == "geodl"
    again = geodl(*words[1:], "--out", result["work"] / "again")
    assert again.returncode == 0, again.stderr
    (cog,) = (result["work"] / "again").rglob("classification.tif")
    assert cog.read_bytes() == Path(result["assets"]["classification"]).read_bytes()


def test_data_files_tell_nothing_of_the_run(result):
    """No data file holds a path, so that the same job gives the same bytes elsewhere."""
    for href in result["assets"].values():
        assert str(result["work"]).encode() not in Path(href).read_bytes()


def test_search_finds_it(result):
    """`geodl search` finds the result by place, time, Collection and filter, and not elsewhere."""
    catalog = ("--catalog", result["catalog"], "--json")
    for arguments in (
        ["-c", result["collection"]],
        ["--datetime", "2020-08"],
        ["--filter", "\"geodl:model\" = 'net' and deprecated = false"],
        ["--bbox", "12,47,13,48"],
    ):
        found = json.loads(geodl("search", *catalog, *arguments).stdout)
        assert [item["id"] for item in found["features"]] == [result["id"]], arguments
    assert json.loads(geodl("search", *catalog, "--bbox", "1,47,2,48").stdout)["features"] == []


def test_run_from_the_catalog(result):
    """ITEM may be catalog:COLLECTION/ID; the job is that of the same Item from its file."""
    with SqliteCatalog(result["catalog"]) as catalog:
        item = json.loads(Path(result["source"]).read_text())
        catalog.put_collection({"type": "Collection", "id": "scenes"})
        catalog.put_item(item)
    emd = result["work"] / "net.emd"
    out = result["work"] / "out"
    again = run_json("catalog:scenes/scene", "-m", emd, "-o", out, "--arg", "tile_size=160", "--pad", "edge")
    assert again["id"] == result["id"]
    assert again["status"] == "present"
    missing = geodl("run", "catalog:scenes/other", "-m", emd, "-o", out)
    assert missing.returncode == 2
    assert "other" in missing.stderr


@pytest.mark.gdal
def test_gdal_reads_table_and_names(result):
    """gdalinfo shows category names, colour table, and the attribute table with the counts of the pixels."""
    cog = result["assets"]["classification"]
    report = json.loads(subprocess.run(["gdalinfo", "-json", cog], capture_output=True, check=True).stdout)
    (band,) = report["bands"]
    names = {entry["Value"]: entry["Name"] for entry in CLASSES}
    assert {value: name for value, name in enumerate(band["categories"]) if name} == names
    assert band["noDataValue"] == 255
    assert band["colorTable"]["entries"][7][:3] == [70, 80, 90]
    table = subprocess.run(["gdalinfo", cog], capture_output=True, check=True, text=True).stdout
    with rasterio.open(cog) as dataset:
        values = dataset.read(1)
    for entry in CLASSES:
        count = int((values == entry["Value"]).sum())
        assert f"<F>{entry['Value']}</F>" in table
        assert f"<F>{count}</F>" in table
    fields = [line.strip() for line in table.splitlines() if "<Name>" in line]
    assert fields == [f"<Name>{name}</Name>" for name in ("Value", "Class", "Red", "Green", "Blue", "Count")]

"""`geodl item make` and `geodl item inspect`."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

from commands import geodl_here
from networks import conv_network, write_emd
from scenes import smooth, write_raster, write_scene
from schemas import require_valid


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_raster(tmp_path / "B04.tif", smooth((120, 100), 1)[None], nodata=0)
    write_raster(tmp_path / "B08.tif", smooth((60, 50), 2)[None], cell=20.0, nodata=0)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path


def made(*words):
    done = geodl_here("item", "make", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.shared
def test_several_rasters_become_one_item(folder, shared):
    """Each raster is an asset; what the user says stands in the Item, which is valid and moves with its files."""
    said = made(
        *("B04.tif", "--asset", "nir=B08.tif", "--id", "field-7", "--datetime", "2026-05-14T12:30:00+02:00"),
        *("--collection", "fields", "--property", "platform=drone", "--property", "gsd=0.1", "--checksum"),
        *("--scale", "0.0001", "--offset", "-0.1", "-o", "items/field.json"),
    )
    item = json.loads(Path("items/field.json").read_text())
    require_valid(item, shared)
    assert (item["id"], item["collection"], list(item["assets"])) == ("field-7", "fields", ["B04", "nir"])
    assert item["properties"] == {"datetime": "2026-05-14T10:30:00Z", "platform": "drone", "gsd": 0.1}
    assert item["assets"]["nir"]["href"] == "../B08.tif"
    assert item["assets"]["nir"]["bands"][0]["eo:common_name"] == "nir"
    assert item["assets"]["B04"]["bands"][0]["raster:scale"] == 0.0001
    assert item["assets"]["B04"]["file:checksum"].startswith("1220")
    assert "item     items/field.json" in said
    assert "next     geodl run items/field.json --model MODEL" in said


def test_an_item_lies_beside_its_raster(folder):
    """Without -o the Item has the first raster's name; one that exists is kept unless --force says otherwise."""
    made("B04.tif")
    assert json.loads(Path("B04.json").read_text())["assets"]["B04"]["href"] == "./B04.tif"
    refused = geodl_here("item", "make", "B04.tif", "B08.tif")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    made("B04.tif", "B08.tif", "--force")
    assert len(json.loads(Path("B04.json").read_text())["assets"]) == 2


@pytest.mark.shared
def test_variables_of_a_netcdf_can_be_moved(folder, shared):
    """An Item of a NetCDF file names its variables relative to itself, and is read so."""
    pixels = np.stack([smooth((60, 50), 1), smooth((60, 50), 2)])
    (folder / "moved").mkdir()
    rasterio.shutil.copy(write_raster(folder / "two.tif", pixels), folder / "moved" / "two.nc", driver="netCDF")
    made("moved/two.nc")
    require_valid(json.loads(Path("moved/two.json").read_text()), shared)
    Path("moved").rename("elsewhere")
    card = json.loads(geodl_here("item", "inspect", "elsewhere/two.json", "--json").stdout)
    assert [(row["band"], row["cell"]) for row in card["bands"]] == [("Band1:1", 10.0), ("Band2:1", 10.0)]


def test_an_item_names_no_service(folder):
    """A service that stands in an Item is refused, whatever it is called."""
    made("B04.tif")
    item = json.loads(Path("B04.json").read_text())
    item["assets"]["B04"]["href"] = "WMS:http://127.0.0.1:9/?layers=a"
    Path("B04.json").write_text(json.dumps(item))
    done = geodl_here("item", "inspect", "B04.json")
    assert done.returncode == 2
    assert "expected the address of a file, found a service" in done.stderr


def test_other_ground_is_noted(folder):
    """A raster that covers other ground than the first is noted."""
    write_raster(folder / "half.tif", smooth((120, 50), 1)[None])
    assert "note     half does not cover the same ground as B04" in made("B04.tif", "half.tif")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a raster, found none"),
        (["none.tif"], "found no file"),
        (["."], "found a folder"),
        (["https://x/ImageServer"], "found a service"),
        (["B04.tif", "--asset", "B04=B08.tif"], "two rasters would be the asset B04"),
        (["--asset", "B04.tif"], "expected KEY=RASTER"),
        (["B04.tif", "--datetime", "noon"], "expected a time"),
        (["B04.tif", "--datetime", "2026-05-14/2026-05-13"], "in this order"),
        (["B04.tif", "--property", "platform"], "expected KEY=VALUE"),
        (["B04.tif", "--property", "datetime=2026-05-14"], "--datetime"),
        (["nocrs.tif"], "no CRS"),
        (["B04.tif", "away.tif"], "lie apart"),
    ],
)
def test_what_is_no_item_is_refused(folder, words, message):
    """What cannot become an Item is refused with its name, and nothing is written."""
    write_raster(folder / "nocrs.tif", smooth((60, 50), 1)[None], crs=None)
    write_raster(folder / "away.tif", smooth((60, 50), 1)[None], crs="EPSG:32610")
    done = geodl_here("item", "make", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(folder.glob("*.json"))


def test_inspect_shows_what_an_item_has(folder):
    """Without a model: bands, their names, cells, CRS and types of the Item's rasters."""
    made("B04.tif", "--asset", "nir=B08.tif", "--scale", "0.0001", "-o", "item.json")
    card = json.loads(geodl_here("item", "inspect", "item.json", "--json").stdout)
    assert [(row["band"], row["names"], row["cell"], row["CRS"]) for row in card["bands"]] == [
        ("B04:1", "b04", 10.0, "EPSG:32633"),
        ("nir:1", "nir", 20.0, "EPSG:32633"),
    ]
    text = geodl_here("item", "inspect", "item.json").stdout
    assert "nir:1  nir    uint16    20  0.0001" in text


def test_inspect_shows_what_a_model_makes_of_an_item(folder):
    """With a model: where each band comes from, grid, radiometry with its rule, footprint, tiles."""
    made("B04.tif", "--asset", "nir=B08.tif", "-o", "item.json")
    words = ["item", "inspect", "item.json", "-m", "net.emd", "--band", "0=B04", "--band", "1=nir"]
    card = json.loads(geodl_here(*words, "--json").stdout)
    assert [(row["model"], row["band"]) for row in card["bands"]] == [("0", "B04:1"), ("1", "nir:1")]
    assert (card["shape"], card["crs"], card["radiometry"]) == ([120, 100], "EPSG:32633", "raw")
    assert card["geometry"]["type"] == "Polygon"
    text = geodl_here(*words)
    assert text.returncode == 0, text.stderr
    for label in ("item", "model", "grid", "footprint", "values", "tiles"):
        assert f"\n{label:<10}" in f"\n{text.stdout}"


def test_inspect_counts_what_is_skipped(tmp_path, monkeypatch):
    """Tiles outside the area of interest are counted as skipped, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path, (512, 512))
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    before = sorted(tmp_path.iterdir())
    words = ["-m", "net.emd", "--arg", "tile_size=128", "--aoi", "12.36,47.79,12.37,47.80", "--json"]
    card = json.loads(geodl_here("item", "inspect", "scene.json", *words).stdout)
    assert 0 < card["live_tiles"] < card["skipped_tiles"]
    assert sorted(tmp_path.iterdir()) == before


def test_inspect_shows_a_mosaic(folder):
    """Several Items with --mosaic are one scene; without a model there is nothing to put together."""
    for name, columns in (("a", 0), ("b", 40)):
        pixels = np.stack([smooth((60, 50), 1), smooth((60, 50), 2)])
        transform = from_origin(300000 + 10 * columns, 5300040, 10, 10)
        write_raster(folder / f"{name}.tif", pixels, nodata=0, transform=transform)
    done = geodl_here("item", "inspect", "a.tif", "b.tif", "-m", "net.emd", "--mosaic", "first", "--json")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert (card["mosaic"], card["shape"]) == ("a, b", [60, 90])
    assert geodl_here("item", "inspect", "a.tif", "b.tif").returncode == 2


def test_inspect_refuses_what_a_run_would(folder):
    """A band that the Item lacks is an error of the same kind as in a run."""
    write_emd(folder, name="names.emd", ExtractBands=["Red", "Thermal"])
    done = geodl_here("item", "inspect", "B04.tif", "-m", "names.emd")
    assert done.returncode == 2
    assert "Thermal" in done.stderr


def test_an_item_without_rasters(folder):
    """An Item that holds no raster says so."""
    item = {"type": "Feature", "stac_version": "1.1.0", "id": "a", "geometry": None, "links": []}
    item |= {"properties": {"datetime": "2026-05-14T00:00:00Z"}, "assets": {"notes": {"href": "./a.txt"}}}
    Path("a.json").write_text(json.dumps(item))
    done = geodl_here("item", "inspect", "a.json")
    assert "no raster notes" in done.stdout
    assert "no raster that a model could read" in done.stdout
    assert done.returncode == 0

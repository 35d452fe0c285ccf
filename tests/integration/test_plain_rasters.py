"""Rasters without an Item, folders of them and services, through the command line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.warp import transform

from commands import geodl_here
from networks import conv_network, write_emd
from runs import data_files
from scenes import smooth, write_raster, write_scene
from schemas import require_valid
from servers import FileServer
from services import MERCATOR_M, PixelServer, tile_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path


def run(*words):
    done = geodl_here("run", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def classes(result):
    with rasterio.open(Path(result["folder"]) / "classification.tif") as dataset:
        return dataset.read(1)


@pytest.mark.shared
def test_a_raster_runs_as_its_item_does(folder, shared):
    """A raster and the Item made of it give the same job and the same bytes; the result names the raster."""
    made = geodl_here("item", "make", "scene.tif", "-o", "made.json")
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1] == "next     geodl run made.json --model MODEL"
    require_valid(json.loads(Path("made.json").read_text()), shared)
    plain = run("scene.tif", "-m", "net.emd", "-o", "one")
    by_item = run("made.json", "-m", "net.emd", "-o", "two")
    assert plain["id"] == by_item["id"]
    assert data_files(Path(plain["folder"])) == data_files(Path(by_item["folder"]))
    result = json.loads(Path(plain["item"]).read_text())
    source = next(link for link in result["links"] if link["rel"] == "derived_from")
    assert (source["href"], source["type"]) == (str(folder / "scene.tif"), "image/tiff; application=geotiff")
    require_valid(result, shared)
    again = geodl_here("rerun", plain["item"], "--catalog", "one/catalog.db")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("name", ["scene.vrt", "scene.nc"])
def test_other_formats(folder, name):
    """A virtual raster and a NetCDF file give the classes of the GeoTIFF that they were made of."""
    words = ["-m", "net.emd"]
    if name.endswith(".vrt"):
        rasterio.shutil.copy("scene.tif", name, driver="VRT")
    else:
        rasterio.shutil.copy("scene.tif", name, driver="netCDF")
        words += ["--band", "0=Band1", "--band", "1=Band2"]
    assert np.array_equal(classes(run(name, *words)), classes(run("scene.tif", "-m", "net.emd")))


def test_a_raster_of_a_server(folder):
    """The URL of a raster is read over the network; its time is what the server says."""
    os.utime("scene.tif", (1_600_000_000, 1_600_000_000))
    with FileServer(folder) as server:
        result = run(server.url("scene.tif"), "-m", "net.emd", "-o", "far")
    assert np.array_equal(classes(result), classes(run("scene.tif", "-m", "net.emd")))
    assert json.loads(Path(result["item"]).read_text())["properties"]["datetime"] == "2020-09-13T12:26:40Z"


def test_plan_takes_rasters(folder):
    """`geodl plan` lays out a raster too."""
    done = geodl_here("plan", "scene.tif", "-m", "net.emd", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tiles"] == 1


def test_a_folder_is_run_raster_by_raster(folder):
    """Each raster of a folder has its own result and a line; one that fails stops none, and the exit code tells."""
    several = folder / "several"
    several.mkdir()
    for seed, name in enumerate(("a.tif", "b.tif", "c.tif")):
        write_raster(several / name, np.stack([smooth((80, 90), seed), smooth((80, 90), seed + 5)]), nodata=0)
    done = geodl_here("run", "several", "-m", "net.emd")
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        f"computed  {name}" for name in ("a.tif", "b.tif", "c.tif")
    ]
    (several / "b.tif").write_text("no raster")
    again = geodl_here("run", "several", "-m", "net.emd", "--json")
    assert again.returncode == 2
    assert "1 of 3 rasters failed: b.tif" in again.stderr
    told = json.loads(again.stdout)
    assert [result["status"] for result in told["results"]] == ["present", "present"]
    assert [failure["raster"] for failure in told["failed"]] == ["b.tif"]


@pytest.mark.parametrize("names", [None, ("Red", "NIR")])
def test_an_image_service(folder, names):
    """An ArcGIS image service gives the classes of the raster that it serves, its pixels not resampled."""
    with PixelServer(folder / "scene.tif", names) as server:
        address = server.url("/rest/services/folder/field/ImageServer")
        result = run(address, "-m", "net.emd")
        card = json.loads(geodl_here("item", "inspect", address, "--json").stdout)
        requests = list(server.requests)
        again = geodl_here("rerun", result["item"], "--item", address)
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "job      the same"), again.stderr
    assert np.array_equal(classes(result), classes(run("scene.tif", "-m", "net.emd")))
    assert result["id"].startswith("field_net_")
    assert [band["names"] for band in card["bands"]] == (["red", "nir"] if names else ["b1", "b2"])
    assert sum("exportImage" in path for path in requests) == 1
    properties = json.loads(Path(result["item"]).read_text())["properties"]
    assert (properties["datetime"], properties["start_datetime"]) == (None, "2020-05-01T00:00:00Z")
    refused = geodl_here("rerun", result["item"])
    assert refused.returncode == 2
    assert "found a service" in refused.stderr


def test_a_service_is_asked_for_the_area_alone(tmp_path, monkeypatch):
    """With --aoi only the service's blocks that hold the area are asked for, and classes there are as ever."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path, (1100, 1600))
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    x, y = [300000 + 10 * 900, 300000 + 10 * 1000], [5300040 - 10 * 100, 5300040 - 10 * 20]
    (west, east), (south, north) = transform("EPSG:32633", "OGC:CRS84", x, y)
    area = ["--aoi", f"{west},{south},{east},{north}", "-m", "net.emd"]
    with PixelServer(tmp_path / "scene.tif") as server:
        result = run(server.url("/rest/services/field/ImageServer"), *area)
        assert sum("exportImage" in path for path in server.requests) == 1
    with rasterio.open(Path(result["folder"]) / "classification.tif") as dataset:
        assert dataset.shape == (512, 512)
        assert dataset.transform.c == 300000 + 10 * 512
    whole = classes(run("scene.tif", *area))[:512, 512:1024]
    inner = np.s_[16:-16, 16:-16]
    assert np.array_equal(classes(result)[inner], whole[inner])


def test_a_service_that_refuses_is_unavailable(folder):
    """A service that gives no pixels now is worth another try."""
    with PixelServer(folder / "scene.tif") as server:
        server.is_refusing = True
        done = geodl_here("run", server.url("/rest/services/field/ImageServer"), "-m", "net.emd")
    assert done.returncode == 75, done.stderr


def byte_scene(folder):
    """A scene of three bands of bytes, for services that serve pictures."""
    pixels = np.stack([smooth((300, 410), seed) // 16 for seed in (1, 2, 3)]).astype("uint8") + 1
    return write_raster(folder / "picture.tif", pixels, nodata=0)


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
def test_a_wms(folder, version):
    """A GetMap request is a scene: its box on as many pixels as its size says."""
    scene = byte_scene(folder)
    with rasterio.open(scene) as dataset:
        left, bottom, right, top = dataset.bounds
    crs = "CRS" if version == "1.3.0" else "SRS"
    query = (
        f"SERVICE=WMS&VERSION={version}&REQUEST=GetMap&LAYERS=field&{crs}=EPSG:32633&FORMAT=image/png&TRANSPARENT=TRUE"
        f"&BBOX={left},{bottom},{right},{top}&WIDTH=410&HEIGHT=300"
    )
    with PixelServer(scene) as server:
        result = run(server.url(f"/wms?{query}"), "-m", "net.emd")
    assert np.array_equal(classes(result), classes(run("picture.tif", "-m", "net.emd")))


def test_map_tiles(folder):
    """Map tiles are a scene in Web Mercator at the zoom that the address has, where --aoi says."""
    scene = byte_scene(folder)
    with PixelServer(scene) as server:
        address = server.url("/{z:14}/{x}/{y}.png")
        everywhere = geodl_here("run", address, "-m", "net.emd")
        assert everywhere.returncode == 2
        assert "--aoi" in everywhere.stderr
        result = run(address, "-m", "net.emd", "--aoi", "12.34,47.80,12.37,47.81")
    x, y = tile_of(12.34, 47.81, 14)
    assert any(path == f"/14/{x}/{y}.png" for path in server.requests)
    with rasterio.open(Path(result["folder"]) / "classification.tif") as dataset:
        assert dataset.crs.to_epsg() == 3857
        assert set(np.unique(dataset.read(1))) >= {1, 255}


def write_capabilities(folder, server):
    """Write what a WMTS says of itself: one layer in Web Mercator down to zoom 14."""
    matrices = "".join(
        f"<TileMatrix><ows:Identifier>{zoom}</ows:Identifier>"
        f"<ScaleDenominator>{559082264.0287178 / 2**zoom}</ScaleDenominator>"
        f"<TopLeftCorner>{-MERCATOR_M} {MERCATOR_M}</TopLeftCorner><TileWidth>256</TileWidth>"
        f"<TileHeight>256</TileHeight><MatrixWidth>{2**zoom}</MatrixWidth><MatrixHeight>{2**zoom}</MatrixHeight>"
        "</TileMatrix>"
        for zoom in range(15)
    )
    template = server.url("/{TileMatrix}/{TileCol}/{TileRow}.png")
    (folder / "caps.xml").write_text(
        '<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1" '
        'version="1.0.0"><Contents><Layer><ows:Identifier>field</ows:Identifier><Style isDefault="true">'
        "<ows:Identifier>default</ows:Identifier></Style><Format>image/png</Format><TileMatrixSetLink>"
        "<TileMatrixSet>web</TileMatrixSet></TileMatrixSetLink>"
        f'<ResourceURL format="image/png" resourceType="tile" template="{template}"/></Layer><TileMatrixSet>'
        "<ows:Identifier>web</ows:Identifier><ows:SupportedCRS>urn:ogc:def:crs:EPSG::3857</ows:SupportedCRS>"
        f"{matrices}</TileMatrixSet></Contents></Capabilities>"
    )


def test_a_wmts(folder):
    """A WMTS layer gives what its map tiles give, asked anew by each run."""
    scene = byte_scene(folder)
    words = ["-m", "net.emd", "--aoi", "12.34,47.80,12.37,47.81"]
    with PixelServer(scene) as server, FileServer(folder) as files:
        write_capabilities(folder, server)
        result = run(f"WMTS:{files.url('caps.xml')},layer=field", *words)
        asked = sum(path.endswith(".png") for path in server.requests)
        assert asked
        run(f"WMTS:{files.url('caps.xml')},layer=field", *words, "--force")
        assert sum(path.endswith(".png") for path in server.requests) == 2 * asked
        tiles = run(server.url("/{z:14}/{x}/{y}.png"), *words)
    assert result["id"].startswith("field_net_")
    # The service's blocks are smaller than its tiles, so the grids differ at the rim, where the network sees less.
    one, other = (found[found != 255] for found in (classes(result), classes(tiles)))
    assert one.shape == other.shape
    assert (one == other).mean() > 0.97


def test_a_description_in_a_file(folder):
    """A local description of a service, as GDAL writes it, is a scene, named as its file."""
    scene = byte_scene(folder)
    with PixelServer(scene) as server, rasterio.open(scene) as dataset:
        left, bottom, right, top = dataset.bounds
        (folder / "described.xml").write_text(
            f'<GDAL_WMS><Service name="WMS"><Version>1.1.1</Version><ServerUrl>{server.url("/wms?")}</ServerUrl>'
            "<Layers>a</Layers><SRS>EPSG:32633</SRS><ImageFormat>image/png</ImageFormat><Transparent>TRUE</Transparent>"
            f"</Service><DataWindow><UpperLeftX>{left}</UpperLeftX><UpperLeftY>{top}</UpperLeftY>"
            f"<LowerRightX>{right}</LowerRightX><LowerRightY>{bottom}</LowerRightY><SizeX>410</SizeX>"
            "<SizeY>300</SizeY></DataWindow><Projection>EPSG:32633</Projection><BandsCount>4</BandsCount></GDAL_WMS>"
        )
        result = run("described.xml", "-m", "net.emd")
    assert result["id"].startswith("described_net_")
    assert np.array_equal(classes(result), classes(run("picture.tif", "-m", "net.emd")))

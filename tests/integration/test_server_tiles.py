"""Results as map tiles: the right pixels in the right colours, of assets of the catalog and of nothing else."""

import json
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import rasterio
from morecantile import tms
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.warp import reproject

from applications import application
from geodl_core.domain.place.address import read_allowed
from geodl_core.io.remote.egress import EgressProxy
from geodl_core.service.server.app import Beside
from networks import conv_network, write_emd
from runs import run_item
from scenes import smooth, write_raster, write_scene
from stac_documents import make_item

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
GRID = tms.get("WebMercatorQuad")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A classified scene, registered."""
    folder = tmp_path_factory.mktemp("tiles")
    item, _ = write_scene(folder)
    conv_network(folder / "net.onnx")
    write_emd(folder)
    return folder, run_item(folder, item)


@pytest.fixture(scope="module")
def server(result):
    """A server of its catalog."""
    with application(result[0], name="out.db") as found:
        yield found


@pytest.fixture(scope="module")
def here(result):
    """Where the routes of the classification are."""
    item = result[1].item
    return f"/collections/{item['collection']}/items/{item['id']}/assets/classification"


def pixels(answer):
    """Return the (H, W, 4) colours of a picture."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text[:300]
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as picture:
        return np.moveaxis(picture.read(), 0, -1)


def coloured(values, item):
    """Return the (H, W, 4) colours of class ids by the Item's own classes; what is no class is transparent."""
    found = np.zeros((*values.shape, 4), np.uint8)
    for one in item["assets"]["classification"]["classification:classes"]:
        if not one.get("nodata"):
            found[values == one["value"]] = (*bytes.fromhex(one["color_hint"]), 255)
    return found


def test_an_unknown_colour_map_is_answered_with_those_like_it(server, here):
    """Of some 200 names the few are told that may be meant."""
    answer = server.api.get(f"{here}/preview.png?colormap_name=virdis")
    assert answer.status_code == 400
    assert "viridis" in answer.text
    assert len(answer.text) < 300
    assert server.api.get(f"{here}/preview.png?colormap_name=viridis&bidx=1").status_code == 200


def test_a_preview_has_the_pixels_of_the_raster(server, result, here):
    """A small raster's preview is the raster itself in the colours of its classes, transparent where it has none."""
    with rasterio.open(result[1].folder / "classification.tif") as dataset:
        values, nodata = dataset.read(1), dataset.nodata
    expected = coloured(values, result[1].item)
    found = pixels(server.api.get(f"{here}/preview.png"))
    assert np.array_equal(found[..., 3], expected[..., 3])
    assert np.array_equal(found[expected[..., 3] > 0], expected[expected[..., 3] > 0])
    assert (values == nodata).any()
    assert len(np.unique(found.reshape(-1, 4), axis=0)) > 2


@pytest.mark.parametrize("zoom", [12, 14, 16])
def test_a_tile_lies_where_it_should(server, result, here, zoom):
    """Each pixel of a tile has the class that GDAL's own warp puts there, away from the borders of pixels."""
    document = server.api.get(f"{here}/WebMercatorQuad/tilejson.json").json()
    west, south, east, north = document["bounds"]
    tile = GRID.tile((west + east) / 2, (south + north) / 2, zoom)
    found = pixels(server.api.get(f"{here}/tiles/WebMercatorQuad/{zoom}/{tile.x}/{tile.y}.png"))
    with rasterio.open(result[1].folder / "classification.tif") as dataset:
        warped = np.full(found.shape[:2], dataset.nodata, np.uint8)
        reproject(
            rasterio.band(dataset, 1),
            warped,
            dst_transform=from_bounds(*GRID.xy_bounds(tile), *found.shape[1::-1]),
            dst_crs="EPSG:3857",
            dst_nodata=dataset.nodata,
            resampling=Resampling.nearest,
        )
    expected = coloured(warped, result[1].item)
    same = (found == expected).all(axis=-1) | ((found[..., 3] == 0) & (expected[..., 3] == 0))
    assert (expected[..., 3] > 0).mean() > 0.05
    # At a coarse zoom an overview is read, whose pixels stand for several.
    assert same.mean() > (0.98 if zoom >= 14 else 0.8)
    classes = coloured(np.arange(256, dtype=np.uint8)[None], result[1].item)[0]
    assert {tuple(colour) for colour in found.reshape(-1, 4)} <= {tuple(colour) for colour in classes}


def test_points_and_facts_are_the_rasters_own(server, result, here):
    """The value at a place and the raster's facts are what rasterio reads."""
    with rasterio.open(result[1].folder / "classification.tif") as dataset:
        facts = server.api.get(f"{here}/info").json()
        assert (facts["width"], facts["height"], facts["dtype"]) == (dataset.width, dataset.height, dataset.dtypes[0])
        assert facts["bounds"] == list(dataset.bounds)
        values = dataset.read(1)
        for row, col in ((200, 200), (299, 409), (150, 100)):
            (lon,), (lat,) = rasterio.warp.transform(dataset.crs, "EPSG:4326", *([x] for x in dataset.xy(row, col)))
            answer = server.api.get(f"{here}/point/{lon},{lat}").json()
            assert answer["values"][0] in (int(values[row, col]), None)


def test_items_link_to_their_tiles(server, result, here):
    """An Item with a classification links to tiles, TileJSON and map, which all answer; the links are not stored."""
    item = result[1].item
    address = here.partition("/assets")[0]
    served = server.api.get(address).json()
    links = {link["rel"]: link["href"] for link in served["links"]}
    document = server.api.get(links["tilejson"]).json()
    west, south, east, north = document["bounds"]
    tile = GRID.tile((west + east) / 2, (south + north) / 2, document["maxzoom"])
    for template in (links["xyz"], document["tiles"][0]):
        url = template.replace("{z}", str(tile.z)).replace("{x}", str(tile.x)).replace("{y}", str(tile.y))
        assert server.api.get(url).status_code == 200, url
    assert server.api.get(links["preview"]).status_code == 200
    assert server.api.put(address, json=served).status_code == 200
    stored = server.services.catalog.get_item(item["collection"], item["id"])
    assert not {"xyz", "tilejson", "preview"} & {link["rel"] for link in stored["links"]}
    assert {link["rel"] for link in server.api.post("/search", json={}).json()["features"][0]["links"]} >= {"self"}


def test_the_map_page_loads_nothing_from_elsewhere(server, result, here):
    """The page names no other server, forbids scripts but its own, and shows names of classes as text."""
    item = dict(result[1].item)
    page = server.api.get(f"{here}/map")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert not re.findall(r"https?://", page.text)
    names = [one["name"] for one in item["assets"]["classification"]["classification:classes"]]
    facts = json.loads(re.search(r'type="application/json">(.*?)</script>', page.text)[1])
    assert len(facts["classes"]) == len(names) > 1
    evil = {**item, "id": "evil", "links": []}
    asset = {**item["assets"]["classification"]}
    asset["classification:classes"] = [{"value": 1, "name": "</script><script>alert(1)</script>", "color_hint": "<b>"}]
    evil["assets"] = {"classification": asset}
    server.services.catalog.put_item(evil)
    page = server.api.get(f"/collections/{item['collection']}/items/evil/assets/classification/map")
    assert "<script>alert" not in page.text
    assert page.text.count("</script>") == 2


def test_no_parameter_names_a_raster(server, here, result):
    """A URL or path in the query is not looked at; ids that are not there are 404."""
    elsewhere = f"file://{result[0]}/scene.tif"
    plain = server.api.get(f"{here}/info").json()
    for query in (f"url={elsewhere}", f"src_path={elsewhere}", f"path={elsewhere}"):
        assert server.api.get(f"{here}/info?{query}").json() == plain
    for path in (
        here.replace("classification", "none"),
        here.replace("/items/", "/items/x"),
        "/collections/x/items/y/assets/z",
    ):
        assert server.api.get(f"{path}/info").status_code == 404
    parameters = {
        one["name"]
        for path, methods in server.app.openapi()["paths"].items()
        if "/assets/" in path
        for one in methods["get"].get("parameters", [])
    }
    assert not parameters & {"url", "expression", "algorithm"}


def test_pictures_have_a_limit(server, here):
    """Sizes and numbers of bands beyond the limits are refused before anything is read."""
    for path in (
        "/preview/5000x10.png",
        "/preview.png?max_size=4096",
        "/preview.png?width=9000",
        "/tiles/WebMercatorQuad/0/0/0.png?tilesize=4096",
        "/tiles/WebMercatorQuad/0/0/0.png?buffer=5000",
        "/tiles/WebMercatorQuad/0/0/0.png?padding=5000",
        "/preview.png?max_size=inf",
        "/preview.png?" + "&".join(["bidx=1"] * 5),
    ):
        answer = server.api.get(here + path)
        assert answer.status_code == 400, path
    assert server.api.get(f"{here}/tiles/WebMercatorQuad/12/0/0.png").status_code == 404
    assert server.api.get(f"{here}/tiles/Unknown/0/0/0.png").status_code == 400


def put(server, name, href, **more):
    """Put an Item whose asset `data` has this href; return where its routes are."""
    item = make_item(name) | {"collection": "c"}
    item["assets"] = {"data": {"href": str(href), "type": COG, **more}}
    server.services.catalog.put_item(item)
    return f"/collections/c/items/{name}/assets/data"


def test_only_files_in_the_servers_folders_are_read(server, result, tmp_path):
    """An Item may name files of the results' folder; others, through links and dots too, are as if they were not."""
    folder = result[0]
    outside = write_raster(tmp_path / "outside.tif", smooth((64, 64), 1)[None])
    inside = folder / "out" / "inside.tif"
    write_raster(inside, smooth((64, 64), 1)[None])
    (folder / "out" / "link.tif").symlink_to(outside)
    (folder / "out" / "text.tif").write_text("no raster")
    vrt = '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
    vrt += f"<SourceFilename>{outside}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    (folder / "out" / "mosaic.tif").write_text(vrt)
    assert server.api.get(put(server, "inside", inside) + "/info").status_code == 200
    assert server.api.get(put(server, "uri", inside.as_uri()) + "/info").status_code == 200
    refused = (
        outside,
        outside.as_uri(),
        folder / "out" / "link.tif",
        folder / "out" / ".." / "scene.tif",
        f"{folder}/out/%2e%2e/scene.tif",
        folder / "out" / "text.tif",
        folder / "out" / "mosaic.tif",
        folder / "out",
        "/etc/passwd",
        "/vsicurl/http://127.0.0.1/x.tif",
        f"/vsizip/{inside}",
        vrt,
        f"NETCDF:{inside}:x",
        "WMS:http://127.0.0.1/wms",
        "ftp://example.com/x.tif",
        "",
    )
    for number, href in enumerate(refused):
        answer = server.api.get(put(server, f"refused{number}", href) + "/info")
        assert answer.status_code == 400, href
        assert str(outside) not in answer.text


def test_other_assets_are_no_tiles(server, result):
    """A table, or an asset without an href, is a wrong request and not a fault."""
    assert (
        server.api.get(put(server, "table", "/x.parquet", type="application/vnd.apache.parquet") + "/info").status_code
        == 400
    )
    item = result[1].item
    attribute_table = f"/collections/{item['collection']}/items/{item['id']}/assets/attribute_table/info"
    assert server.api.get(attribute_table).status_code == 400


@pytest.fixture
def website(tmp_path):
    """A web server on the loopback with a raster."""
    write_raster(tmp_path / "scene.tif", smooth((64, 64), 1)[None])
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *_):
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield http.server_port, asked
        http.shutdown()
        thread.join()


def test_what_others_publish_does_not_reach_the_servers_network(tmp_path, website):
    """Behind a server for others a raster at a private address is not even asked for; one that is allowed is read."""
    port, asked = website
    for allowed, status in ((read_allowed(""), 503), (read_allowed(f"127.0.0.1:{port}"), 200)):
        with EgressProxy(allowed) as proxy, application(tmp_path, beside=Beside(proxy=proxy)) as server:
            # GDAL remembers what it could not open: another address each time.
            url = f"http://127.0.0.1:{port}/scene.tif?{status}"
            answer = server.api.get(put(server, f"remote{status}", url) + "/info")
            assert answer.status_code == status, answer.text
            assert bool(asked) == (status == 200)

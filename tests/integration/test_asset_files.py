"""Files of Items over HTTP: those that the server may hand out, and no others."""

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

import numpy as np
import pystac_client
import pytest
import rasterio

from applications import BASE, application
from commands import geodl
from geodl_core.catalog.api.app import Additions, create_app
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.catalog.stac_api import StacApiCatalog
from geodl_core.service.access.auth import Rules
from geodl_core.service.server.app import ServerOptions
from networks import conv_network, write_emd
from runs import run_item
from scenes import smooth, write_raster, write_scene
from stac_documents import make_item
from uvicorns import behind_uvicorn

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
GUARDED, PRIVATE = ServerOptions(rules=Rules()), ServerOptions(rules=Rules(is_private=True))
HERE = "/collections/c/items/files"
TEXT = bytes(range(256)) * 40


@pytest.fixture
def server(tmp_path):
    """A server that others reach, with an Item whose files lie in its folder of results."""
    with filled(tmp_path, GUARDED) as found:
        yield found


@contextmanager
def filled(folder, options):
    """A server of `folder` whose Item `files` names many kinds of hrefs."""
    out = folder / "out"
    (out / "sub folder").mkdir(parents=True)
    (out / "sub folder" / "a b#ü.bin").write_bytes(TEXT)
    (out / "page.html").write_text("<script>alert(1)</script>")
    (folder / "secret.bin").write_bytes(b"secret")
    (out / "leads-out.bin").symlink_to(folder / "secret.bin")
    (out / "stays-in.bin").symlink_to(out / "sub folder" / "a b#ü.bin")
    (out / "circle.bin").symlink_to(out / "circle.bin")
    (out / "by-folder").symlink_to(folder)
    hrefs = {
        "plain": out / "sub folder" / "a b#ü.bin",
        "file": f"file://{quote(str(out))}/sub%20folder/a%20b%23%C3%BC.bin",
        "dots": f"{out}/sub folder/../page.html",
        "inside": out / "stays-in.bin",
        "outside": folder / "secret.bin",
        "climbs": f"{out}/../secret.bin",
        "link": out / "leads-out.bin",
        "folder_link": out / "by-folder" / "secret.bin",
        "circle": out / "circle.bin",
        "gone": out / "gone.bin",
        "folder": out / "sub folder",
        "zero": f"{out}/a\0b",
        "long": f"{out}/{'x' * 5000}",
        "relative": "./page.html",
        "elsewhere": "https://example.com/page.html",
        "other_host": f"file://localhost{out}/page.html",
        "a/b": out / "page.html",
        "..": out / "page.html",
    }
    assets = {key: {"href": str(href), "title": key} for key, href in hrefs.items()}
    assets["dots"]["type"] = "text/html"
    assets["plain"]["type"] = COG
    with application(folder, options) as server:
        server.services.catalog.put_item(make_item("files") | {"collection": "c", "assets": assets})
        yield server


SERVED = {"plain": "a b#ü.bin", "file": "a b#ü.bin", "dots": "page.html", "inside": "stays-in.bin"}


def address(key, name, here=HERE):
    return f"{here}/assets/{quote(key, safe='')}/file/{quote(name, safe='')}"


def stored(server, item_id="files"):
    return server.services.catalog.read_item("c", item_id)


def test_a_file_is_the_bytes_on_disk(server):
    """The answer is the file, of the asset's media type, and a page among files can neither act nor load."""
    answer = server.api.get(address("plain", "a b#ü.bin"))
    assert (answer.status_code, answer.content) == (200, TEXT)
    assert answer.headers["Content-Type"] == COG
    assert answer.headers["Content-Disposition"] == f"inline; filename*=utf-8''{quote('a b#ü.bin')}"
    path = server.services.out / "sub folder" / "a b#ü.bin"
    assert parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp() == int(path.stat().st_mtime)
    page = server.api.get(address("dots", "page.html"))
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in page.headers["Content-Security-Policy"].replace(";", " ").split()
    assert "allow-" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("asked", "start", "stop"), [("0-99", 0, 100), ("100-", 100, None), ("-7", -7, None), ("10-99999999", 10, None)]
)
def test_ranges_are_the_bytes_asked_for(server, asked, start, stop):
    """A range is answered by exactly its bytes, and says where they lie."""
    answer = server.api.get(address("plain", "a b#ü.bin"), headers={"Range": f"bytes={asked}"})
    first = start % len(TEXT)
    last = (stop or len(TEXT)) - 1
    assert (answer.status_code, answer.content) == (206, TEXT[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(TEXT)}"


def test_a_range_behind_the_end_is_refused(server):
    """Where there is nothing, the answer is 416 with the file's size."""
    answer = server.api.get(address("plain", "a b#ü.bin"), headers={"Range": "bytes=99999999-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(TEXT)}")


def test_head_says_the_size_and_opens_nothing(server, monkeypatch):
    """HEAD has GET's headers and no body, and the file is not read for it."""
    whole = server.api.get(address("plain", "a b#ü.bin"))
    opened = []
    monkeypatch.setattr("starlette.responses.anyio.open_file", lambda *args, **more: opened.append(args))
    answer = server.api.head(address("plain", "a b#ü.bin"))
    assert (answer.status_code, answer.content, opened) == (200, b"", [])
    assert answer.headers == whole.headers
    assert answer.headers["Content-Length"] == str(len(TEXT))
    assert server.api.head(address("plain", "other.bin")).status_code == 404


def test_what_is_known_is_not_sent_again(server):
    """An unchanged file is 304 by its ETag; a changed one has another and is sent, also to who asks for a part."""
    here = address("plain", "a b#ü.bin")
    etag = server.api.get(here).headers["ETag"]
    again = server.api.get(here, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    part = {"Range": "bytes=0-1", "If-Range": etag}
    assert server.api.get(here, headers=part).status_code == 206
    (server.services.out / "sub folder" / "a b#ü.bin").write_bytes(b"changed")
    assert server.api.get(here, headers={"If-None-Match": etag}).content == b"changed"
    assert (server.api.get(here, headers=part).status_code, server.api.get(here, headers=part).content) == (
        200,
        b"changed",
    )


def test_only_files_in_the_folders_are_handed_out(server):
    """Links out, dots, folders, what is gone and what is elsewhere are 404 by every name, and nothing is redirected."""
    assets = stored(server).content["assets"]
    refused = set(assets) - set(SERVED)
    assert len(refused) == 14
    for key in refused:
        own = assets[key]["href"].rpartition("/")[2]
        for name in {own, "secret.bin", "page.html"}:
            answer = server.api.get(address(key, name), follow_redirects=False)
            assert (answer.status_code, b"secret" in answer.content) == (404, False), (key, name)
    for key, name in SERVED.items():
        assert server.api.get(address(key, name)).status_code == 200, key


@pytest.mark.parametrize(
    "path",
    [
        address("plain", "page.html"),
        address("plain", "../page.html"),
        address("plain", "sub folder/a b#ü.bin"),
        address("plain", ".."),
        address("inside", "a b#ü.bin"),
        address("nothing", "a b#ü.bin"),
        address("plain", "a b#ü.bin", here="/collections/c/items/none"),
        address("plain", "a b#ü.bin", here="/collections/none/items/files"),
        f"{HERE}/assets/plain/file/%2e%2e%2f%2e%2e%2fsecret.bin",
        f"{HERE}/assets/plain/file/",
    ],
)
def test_other_names_are_nothing(server, path):
    """Another name than the file's own, an unknown asset, Item or Collection: 404."""
    assert server.api.get(path, follow_redirects=False).status_code in (404, 307)
    assert server.api.get(path).status_code == 404


def test_catalogs_are_never_handed_out(tmp_path):
    """The server's catalog, what SQLite keeps beside it, links to it and copies of it are no assets."""
    out, here = tmp_path / "out", "/collections/c/items/dbs"
    out.mkdir()
    with application(tmp_path, GUARDED, name="out/catalog.db") as server:
        place = out / "catalog.db"
        (out / "catalog.db.bak").write_bytes(b"bak")
        (out / "link.db").symlink_to(place)
        os.link(place, out / "hard.db")
        with closing(sqlite3.connect(place)) as source, closing(sqlite3.connect(out / "copy.gpkg")) as copy:
            source.backup(copy)
        (out / "copy.gpkg-wal").write_bytes(b"wal")
        other = out / "other.gpkg"
        with closing(sqlite3.connect(other)) as made:
            made.execute("CREATE TABLE t (a)")
        paths = sorted(path for path in out.iterdir() if path != other)
        assert len(paths) >= 6
        assets = {path.name: {"href": str(path)} for path in (*paths, other)}
        server.services.catalog.put_item(make_item("dbs") | {"collection": "c", "assets": assets})
        for path in paths:
            assert server.api.get(address(path.name, path.name, here)).status_code == 404, path
        answer = server.api.get(address(other.name, other.name, here))
        assert (answer.status_code, answer.content) == (200, other.read_bytes())


@pytest.mark.parametrize("kind", ["text/html\r\nX-Evil: 1", "no type", "", 'text/html; a="\n"', "é/ü"])
def test_a_media_type_that_is_none_is_not_repeated(server, kind):
    """What is no media type becomes one that says nothing, and adds no header."""
    item = stored(server).content
    item["assets"]["plain"]["type"] = kind
    server.services.catalog.put_item(item)
    answer = server.api.get(address("plain", "a b#ü.bin"))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "X-Evil" not in answer.headers


def test_reading_files_needs_a_token_where_reading_does(tmp_path):
    """On a private server a file is 401 without a token, 403 with one that may not read, and sent with one that may."""
    with filled(tmp_path, PRIVATE) as server:
        here = address("plain", "a b#ü.bin")
        assert server.api.get(here).status_code == server.api.head(here).status_code == 401
        assert server.api.get(here, headers=server.token("worker")).status_code == 403
        assert server.api.get(here, headers=server.token("read")).content == TEXT


def test_items_name_the_files_by_their_urls(server):
    """Read alone, in a list and by a search: the files that are handed out have URLs, everything else is as stored."""
    kept = stored(server).content["assets"]
    alone = server.api.get(HERE).json()
    listed = server.api.get("/collections/c/items", params={"ids": "files"}).json()["features"]
    found = server.api.post("/search", json={"ids": ["files"]}).json()["features"]
    for item in (alone, *[one for one in (*listed, *found) if one["id"] == "files"]):
        for key, asset in item["assets"].items():
            name = SERVED.get(key)
            expected = kept[key]["href"] if name is None else BASE + address(key, name)
            assert asset == {**kept[key], "href": expected}, key
            if name:
                assert server.api.get(asset["href"]).status_code == 200, key
    assert len(found) == 1
    assert stored(server).content["assets"] == kept


def test_the_url_is_where_the_request_came(tmp_path):
    """The address is that of the request, as it is for links."""
    with filled(tmp_path, GUARDED) as server:
        item = server.api.get(f"http://localhost:9{HERE}").json()
        assert item["assets"]["plain"]["href"] == f"http://localhost:9{address('plain', 'a b#ü.bin')}"


def test_a_server_of_its_own_machine_keeps_paths(tmp_path):
    """Without rules hrefs stay paths, and files are not handed out: others of that machine might not read them."""
    with filled(tmp_path, ServerOptions()) as server:
        assert server.api.get(HERE).json()["assets"] == stored(server).content["assets"]
        assert server.api.get(address("plain", "a b#ü.bin")).status_code == 404


def test_putting_back_what_was_read_changes_nothing(server):
    """An Item that is read and put back is stored as it was, to its ETag; with a property changed, all else stays."""
    token, before = server.token("publish"), stored(server)
    read = server.api.get(HERE)
    put = server.api.put(HERE, json=read.json(), headers={**token, "If-Match": read.headers["ETag"]})
    assert put.status_code == 200, put.text
    assert put.headers["ETag"] == read.headers["ETag"]
    assert put.json() == read.json()
    assert stored(server) == before
    changed = read.json()
    changed["properties"]["eo:cloud_cover"] = 3
    assert server.api.put(HERE, json=changed, headers=token).status_code == 200
    expected = json.loads(json.dumps(before.content))
    expected["properties"]["eo:cloud_cover"] = 3
    assert stored(server).content == expected


def test_patches_see_paths(server):
    """A patch works on what is stored; a URL that it brings along is turned back."""
    token, before = server.token("publish"), stored(server).content
    read = server.api.get(HERE).json()
    patch = {"properties": {"a": 1}, "assets": {"plain": {"href": read["assets"]["plain"]["href"], "title": "new"}}}
    answer = server.api.patch(HERE, json=patch, headers=token)
    assert answer.status_code == 200, answer.text
    assert answer.json()["assets"]["plain"]["href"] == read["assets"]["plain"]["href"]
    tested = [
        {"op": "test", "path": "/assets/file/href", "value": before["assets"]["file"]["href"]},
        {"op": "remove", "path": "/assets/gone"},
    ]
    headers = {**token, "Content-Type": "application/json-patch+json"}
    assert server.api.patch(HERE, content=json.dumps(tested), headers=headers).status_code == 200
    assets = {key: asset for key, asset in before["assets"].items() if key != "gone"}
    assets["plain"] = {**assets["plain"], "title": "new"}
    assert stored(server).content["assets"] == assets
    assert stored(server).content["properties"]["a"] == 1


def test_many_at_once_come_back_as_they_were(server):
    """Items read by a search are stored as they were by a bulk write and by StacApiCatalog.put_items."""
    token, before = server.token("publish"), stored(server)
    served = {key: one for one in server.api.post("/search", json={}).json()["features"] for key in [one["id"]]}
    body = {"items": served, "method": "upsert"}
    assert len(served) == 2
    answer = server.api.post("/collections/c/bulk_items", json=body, headers=token)
    assert answer.status_code == 200, answer.text
    assert stored(server) == before
    secret = token["Authorization"].partition(" ")[2]
    with behind_uvicorn(server.app) as url, StacApiCatalog(url.replace("//", f"//geodl:{secret}@")) as remote:
        items = [remote.get_item("c", "files"), remote.get_item("c", "i")]
        assert items[0]["assets"]["plain"]["href"] == url + address("plain", "a b#ü.bin")
        remote.put_items(items)
        assert stored(server) == before
        remote.put_items(items[:1])
    assert stored(server) == before


def test_a_file_may_move_to_another_key(server):
    """A URL stands for the stored path under whatever key it comes; a file that is gone for now keeps its path."""
    token, before = server.token("publish"), stored(server).content["assets"]
    read = server.api.get(HERE).json()
    read["assets"] = {"moved": read["assets"]["file"], "plain": read["assets"]["plain"]}
    (server.services.out / "sub folder" / "a b#ü.bin").unlink()
    assert server.api.put(HERE, json=read, headers=token).status_code == 200
    after = {key: asset["href"] for key, asset in stored(server).content["assets"].items()}
    assert after == {"moved": before["file"]["href"], "plain": before["plain"]["href"]}


@pytest.mark.parametrize(
    "tail", ["plain/file/other.bin", "none/file/a.bin", "elsewhere/file/page.html", "plain/file/a%20b%23%C3%BC.bin?x=1"]
)
def test_urls_of_files_that_are_not_there_are_refused(server, tail):
    """An Item is not stored with the URL of a file of its own that the stored Item does not have."""
    token, before = server.token("publish"), stored(server)
    wrong = make_item("files") | {"assets": {"data": {"href": f"{BASE}{HERE}/assets/{tail}"}}}
    patch = {"assets": {"data": {"href": f"{BASE}{HERE}/assets/{tail}"}}}
    fresh = make_item("new") | {"assets": {"data": {"href": f"{BASE}/collections/c/items/new/assets/{tail}"}}}
    answers = [
        server.api.put(HERE, json=wrong, headers=token),
        server.api.patch(HERE, json=patch, headers=token),
        server.api.post("/collections/c/items", json=fresh, headers=token),
        server.api.post("/collections/c/bulk_items", json={"items": {"new": fresh}}, headers=token),
    ]
    assert [answer.status_code for answer in answers] == [400] * 4
    assert "data" in answers[0].json()["description"]
    assert (stored(server), stored(server, "new")) == (before, None)


def test_other_addresses_of_the_server_are_stored(server):
    """Pictures of the Item's tiles and files of other Items are hrefs like any other."""
    here = f"{BASE}/collections/c/items/new/assets/data/preview.png"
    hrefs = {"preview": here, "other": BASE + address("plain", "a b#ü.bin")}
    item = make_item("new") | {"assets": {key: {"href": href} for key, href in hrefs.items()}}
    assert server.api.post("/collections/c/items", json=item, headers=server.token("publish")).status_code == 201
    assert {key: one["href"] for key, one in stored(server, "new").content["assets"].items()} == hrefs


def test_an_addition_without_files_serves_hrefs_as_they_are(tmp_path):
    """The API alone hands out no files."""
    with SqliteCatalog(tmp_path / "a.db") as catalog:
        app = create_app(catalog, additions=Additions())
    assert not [route for route in app.routes if "/file/" in getattr(route, "path", "")]


def noting(app, seen):
    async def noted(scope, receive, send):
        async def note(message):
            if message["type"] == "http.response.start":
                seen.append((scope["method"], message["status"]))
            await send(message)

        await app(scope, receive, note)

    return noted


def test_another_machine_reads_the_pixels(tmp_path):
    """What pystac-client finds rasterio opens: the file's own pixels, and a window of it by a few ranges."""
    (tmp_path / "out").mkdir()
    raster = write_raster(tmp_path / "out" / "large.tif", np.stack([smooth((1500, 1500), 3)]))
    seen = []
    with application(tmp_path, GUARDED) as server:
        item = make_item("large") | {"collection": "c", "assets": {"data": {"href": str(raster), "type": COG}}}
        server.services.catalog.put_item(item)
        with behind_uvicorn(noting(server.app, seen)) as url:
            found = next(iter(pystac_client.Client.open(url).search(ids=["large"]).items()))
            href = found.assets["data"].href
            assert urlsplit(href).path.endswith("/file/large.tif")
            seen.clear()
            options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/"}
            with rasterio.open(raster) as local, rasterio.Env(**options), rasterio.open(href) as remote:
                window = rasterio.windows.Window(600, 600, 64, 64)
                assert np.array_equal(remote.read(window=window), local.read(window=window))
                statuses = [status for method, status in seen if method == "GET"]
                assert statuses
                assert set(statuses) == {206}
                assert remote.profile == local.profile
                assert np.array_equal(remote.read(), local.read())


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene, a model, and the result of one on the other in this process."""
    folder = tmp_path_factory.mktemp("scene")
    item, _ = write_scene(folder)
    conv_network(folder / "net.onnx")
    write_emd(folder)
    return folder, item, run_item(folder, item)


def test_a_run_elsewhere_reads_through_the_server(scene, tmp_path):
    """`geodl run catalog:C/I` against a server gives the classes that a run on the server's machine gives."""
    folder, path, result = scene
    document = json.loads(path.read_text())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scene.tif").write_bytes((folder / "scene.tif").read_bytes())
    document["assets"]["image"]["href"] = str(tmp_path / "out" / "scene.tif")
    with application(tmp_path, GUARDED) as server:
        server.services.catalog.put_item({**document, "collection": "c", "links": []})
        secret = server.token("publish")["Authorization"].partition(" ")[2]
        with behind_uvicorn(server.app) as url:
            ran = geodl(
                *("run", f"catalog:c/{document['id']}", "--model", folder / "net.emd", "--out", tmp_path / "elsewhere"),
                *("--catalog", url.replace("//", f"//geodl:{secret}@")),
                GEODL_CACHE=str(tmp_path / "cache"),
            )
        assert ran.returncode == 0, ran.stderr
    (found,) = (tmp_path / "elsewhere").rglob("classification.tif")
    assert found.read_bytes() == (result.folder / "classification.tif").read_bytes()

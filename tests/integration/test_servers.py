"""The tests' own file server does what it says, as `requests` and GDAL see it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import requests
from rasterio.errors import RasterioIOError
from rasterio.shutil import copy

from scenes import smooth, write_raster
from servers import FileServer

CONTENT = bytes(range(256)) * 400
TIMEOUT_S = 10
GDAL_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_TIMEOUT": TIMEOUT_S}


@pytest.fixture
def folder(tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    (served / "a.bin").write_bytes(CONTENT)
    return served


def get(url, **headers):
    return requests.get(url, headers=headers, timeout=TIMEOUT_S)


def test_a_whole_file(folder):
    """GET gives the bytes, HEAD the same headers alone."""
    with FileServer(folder) as server:
        answer = get(server.url("a.bin"))
        head = requests.head(server.url("a.bin"), timeout=TIMEOUT_S)
    assert answer.status_code == head.status_code == 200
    assert answer.content == CONTENT
    assert head.content == b""
    for name in ("ETag", "Last-Modified", "Content-Length", "Accept-Ranges"):
        assert answer.headers[name] == head.headers[name]
    assert server.bytes_sent == len(CONTENT)
    assert [request.method for request in server.requests] == ["GET", "HEAD"]


@pytest.mark.parametrize(
    ("asked", "status", "said", "expected"),
    [
        ("bytes=0-9", 206, "bytes 0-9/102400", CONTENT[:10]),
        ("bytes=102390-", 206, "bytes 102390-102399/102400", CONTENT[-10:]),
        ("bytes=-10", 206, "bytes 102390-102399/102400", CONTENT[-10:]),
        ("bytes=102390-999999", 206, "bytes 102390-102399/102400", CONTENT[-10:]),
        ("bytes=0-102399", 206, "bytes 0-102399/102400", CONTENT),
        ("bytes=102400-102401", 416, "bytes */102400", b""),
        ("bytes=-0", 416, "bytes */102400", b""),
        ("bytes=0-1,5-6", 200, None, CONTENT),
        ("lines=0-1", 200, None, CONTENT),
    ],
)
def test_ranges(folder, asked, status, said, expected):
    """A range is answered as RFC 9110 wants it, and recorded."""
    with FileServer(folder) as server:
        answer = get(server.url("a.bin"), Range=asked)
    assert (answer.status_code, answer.headers.get("Content-Range"), answer.content) == (status, said, expected)
    assert [(request.range, request.status, request.sent_bytes) for request in server.requests] == [
        (asked, status, len(expected))
    ]


def test_conditions(folder):
    """If-Match refuses another version, If-Range answers with the whole of it."""
    with FileServer(folder) as server:
        url = server.url("a.bin")
        etag = get(url).headers["ETag"]
        assert get(url, **{"If-Match": etag}).status_code == 200
        assert get(url, **{"If-Match": '"other"'}).status_code == 412
        assert get(url, **{"If-Range": etag, "Range": "bytes=0-1"}).status_code == 206
        assert get(url, **{"If-Range": '"other"', "Range": "bytes=0-1"}).status_code == 200


@pytest.mark.parametrize("path", ["b.bin", "", "%2e%2e/secret", "a.bin/x"])
def test_nothing_else_is_served(folder, path):
    """What is no file of the folder is not there."""
    (folder.parent / "secret").write_text("x")
    with FileServer(folder) as server:
        assert get(server.url(path)).status_code == 404


def test_a_connection_is_kept(folder):
    """One connection carries many requests, at no more than their delay each."""
    with FileServer(folder, delay_s=0.01) as server, requests.Session() as session:
        started = time.monotonic()
        for _ in range(20):
            assert session.get(server.url("a.bin"), timeout=TIMEOUT_S).content == CONTENT
        taken_s = time.monotonic() - started
    assert 0.2 <= taken_s < 0.8, "Nagle's algorithm would add 40 ms to each"


def test_the_rate_holds_for_a_connection(folder):
    """A body takes its size over the rate; two connections take no longer than one."""
    with FileServer(folder, bytes_per_s=len(CONTENT) / 0.2) as server, ThreadPoolExecutor(2) as pool:
        started = time.monotonic()
        answers = list(pool.map(get, [server.url("a.bin")] * 2))
        taken_s = time.monotonic() - started
    assert [answer.content for answer in answers] == [CONTENT] * 2
    assert 0.19 <= taken_s < 0.39
    assert server.most_in_flight == 2


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_status_for_some_requests(folder, status):
    """The requests from `after` on fail, `count` of them; others of the path and other paths do not."""
    (folder / "b.bin").write_bytes(b"b")
    with FileServer(folder) as server:
        server.fail("/a.bin", status, after=1, count=2)
        assert [get(server.url("a.bin")).status_code for _ in range(4)] == [200, status, status, 200]
        assert get(server.url("b.bin")).status_code == 200


def test_a_status_for_good(folder):
    """Without a count a fault stays until it is healed; a pattern names many paths."""
    with FileServer(folder) as server:
        server.fail("/*")
        assert [get(server.url("a.bin")).status_code for _ in range(3)] == [503] * 3
        server.heal()
        server.reset()
        assert get(server.url("a.bin")).status_code == 200
    assert len(server.requests) == 1


def test_a_hang_ends_with_the_client(folder):
    """A hanging request is answered by nothing, and is over when the client has left."""
    with FileServer(folder) as server:
        server.hang("/a.bin", count=1)
        with pytest.raises(requests.ReadTimeout):
            requests.get(server.url("a.bin"), timeout=0.1)
        assert get(server.url("a.bin")).status_code == 200
    assert {request.status for request in server.requests} == {0, 200}


def test_closing_ends_what_hangs(folder):
    """The server closes at once, although a client waits and another keeps its connection open."""
    with requests.Session() as idle, ThreadPoolExecutor(1) as pool:
        with FileServer(folder) as server:
            idle.get(server.url("a.bin"), timeout=TIMEOUT_S)
            server.hang("/a.bin")
            hanging = pool.submit(get, server.url("a.bin"))
            while server.in_flight == 0:
                time.sleep(0.01)
            threads, started = threading.active_count(), time.monotonic()
        assert time.monotonic() - started < 1
        assert threading.active_count() <= threads - 3, "the server's own and two connections'"
        with pytest.raises(requests.ConnectionError):
            hanging.result()


def test_a_short_read(folder):
    """Half of the promised body arrives, of a range too."""
    with FileServer(folder) as server:
        server.cut("/a.bin", count=2)
        for _ in range(2):
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                get(server.url("a.bin"), Range="bytes=0-999")
        assert get(server.url("a.bin"), Range="bytes=0-999").content == CONTENT[:1000]
    assert [request.sent_bytes for request in server.requests] == [500, 500, 1000]


def test_a_change(folder):
    """From one request on the file is another one, with an ETag of its own."""
    with FileServer(folder) as server:
        server.change("/a.bin", b"new" * 100_000, after=1)
        old, new, part = get(server.url("a.bin")), get(server.url("a.bin")), get(server.url("a.bin"), Range="bytes=3-5")
    assert (old.content, new.content, part.content) == (CONTENT, b"new" * 100_000, b"new")
    assert old.headers["ETag"] != new.headers["ETag"] == part.headers["ETag"]
    assert old.headers["Last-Modified"] != new.headers["Last-Modified"]


def test_a_change_of_the_etag_alone(folder):
    """A change without a content is another version of the same bytes."""
    with FileServer(folder) as server:
        old = get(server.url("a.bin"))
        server.change("/a.bin")
        new = get(server.url("a.bin"))
    assert old.content == new.content
    assert old.headers["ETag"] != new.headers["ETag"]


def test_a_truncated_file(folder):
    """A truncated file is shorter and says so."""
    with FileServer(folder) as server:
        server.truncate("/a.bin", 100)
        assert get(server.url("a.bin")).content == CONTENT[:100]
        assert get(server.url("a.bin"), Range="bytes=90-199").headers["Content-Range"] == "bytes 90-99/100"
        assert get(server.url("a.bin"), Range="bytes=200-299").status_code == 416


@pytest.fixture
def scene(folder, tmp_path):
    """A small COG in the served folder, and its pixels."""
    pixels = np.stack([smooth((700, 600), seed) for seed in (1, 2)])
    copy(write_raster(tmp_path / "plain.tif", pixels), folder / "scene.tif", driver="COG", blocksize=128)
    return pixels


def read(server, **options):
    with rasterio.Env(**GDAL_OPTIONS, **options), rasterio.open(server.url("scene.tif")) as dataset:
        return dataset.read()


def test_gdal_reads_a_cog(folder, scene):
    """GDAL reads through the server what is in the file, by ranges."""
    with FileServer(folder) as server:
        np.testing.assert_array_equal(read(server), scene)
    assert any(request.range and request.status == 206 for request in server.requests)
    assert {request.path for request in server.requests} == {"/scene.tif"}


def test_gdal_meets_faults(folder, scene):
    """What GDAL retries it recovers from, and the rest it reports."""
    with FileServer(folder) as server:
        server.fail("/scene.tif", 503, after=1, count=2)
        retries = {"GDAL_HTTP_MAX_RETRY": 3, "GDAL_HTTP_RETRY_DELAY": 0.01}
        np.testing.assert_array_equal(read(server, **retries), scene)
    assert [request.status for request in server.requests].count(503) == 2
    with FileServer(folder) as server:
        server.fail("/scene.tif", 404)
        with pytest.raises(RasterioIOError):
            read(server)
    with FileServer(folder) as server:
        server.truncate("/scene.tif", (folder / "scene.tif").stat().st_size // 2)
        with pytest.raises(RasterioIOError):
            read(server)

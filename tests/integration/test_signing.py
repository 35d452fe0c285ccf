"""The Planetary Computer's signatures: asked for when a file is opened, kept while they hold, renewed when refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from rasterio.errors import RasterioIOError

from geodl_core.domain.grid import Grid
from geodl_core.domain.place.access import PLANETARY_COMPUTER, Access
from geodl_core.domain.place.href import split_notes, with_notes
from geodl_core.domain.plan.plan import BandSource, Plan, pack_live, tile_shape
from geodl_core.domain.window import Window
from geodl_core.errors import GeodlError, StoreError
from geodl_core.io.remote import signing
from geodl_core.io.remote.access import access_in_force
from geodl_core.io.remote.http import file_version
from geodl_core.io.scene import scene_reader
from geodl_core.io.scene.raster import opened, raster_facts
from geodl_core.io.scene.scene_reader import SceneReader
from scenes import smooth, write_raster
from websites import Website, send, website

KEY = "subscription-key-4711"


class Computer:
    """A fake of both: the service that signs, and the store, which lets signatures of its own pass while they hold."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.issued = self.lasts_s = 0
        self.good: set[str] = set()
        self.keys: list[str | None] = []
        self.reads: list[int] = []
        self.lasts_s = 3600
        self.status = 200

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        if url.path == "/api/sas/v1/token/127.0.0.1/container":
            self.issued += 1
            self.keys.append(handler.headers.get(signing.KEY_HEADER))
            token = f"se=2026&sig=SECRET{self.issued}%2B"
            self.good.add(f"SECRET{self.issued}+")
            ends = datetime.now(UTC) + timedelta(seconds=self.lasts_s)
            body = {"msft:expiry": ends.strftime("%Y-%m-%dT%H:%M:%SZ"), "token": token}
            send(handler, self.status, json.dumps(body).encode())
            return
        is_good = parse_qs(url.query).get("sig", [""])[0] in self.good
        self.reads.append(200 if is_good else 403)
        send(handler, 200 if is_good else 403, self.content, ETag='"one"')


@pytest.fixture
def scene(tmp_path: Path) -> np.ndarray:
    pixels = np.stack([smooth((600, 500), 1)])
    write_raster(tmp_path / "scene.tif", pixels)
    return pixels


@contextmanager
def computer(folder: Path) -> Iterator[tuple[Computer, Website, str]]:
    """Both servers, as the access in force, and an href to be signed."""
    fake = Computer((folder / "scene.tif").read_bytes())
    signing._tokens.clear()
    with website(fake.answer) as site:
        access = Access(signing_url=f"http://127.0.0.1:{site.port}/api/sas/v1", signing_key=KEY)
        href = with_notes(f"http://127.0.0.1:{site.port}/container/scene.tif", {"sign": PLANETARY_COMPUTER})
        with access_in_force(access):
            yield fake, site, href
    signing._tokens.clear()


def read(href: str) -> np.ndarray:
    with opened(href, "B04") as dataset:
        return np.asarray(dataset.read())


def test_a_signature_serves_all_files_while_it_holds(tmp_path: Path, scene: np.ndarray) -> None:
    """One signature of the container is asked for, with the key, and taken by GDAL and requests alike."""
    with computer(tmp_path) as (fake, _, href):
        assert (read(href) == scene).all()
        assert (read(href) == scene).all()
        assert file_version(href, "B04").startswith('etag:"one"')
        assert fake.issued == 1
        assert fake.keys == [KEY]
        assert set(fake.reads) == {200}


def test_a_signature_that_ends_soon_is_not_taken(tmp_path: Path, scene: np.ndarray) -> None:
    """Shortly before its end another is asked for."""
    with computer(tmp_path) as (fake, _, href):
        fake.lasts_s = 30
        raster_facts(href, "B04")
        raster_facts(href, "B04")
        assert fake.issued == 2


def test_a_refused_signature_is_renewed(tmp_path: Path, scene: np.ndarray) -> None:
    """A store that answers 403 before the signature's end makes that a new one is asked for, once."""
    with computer(tmp_path) as (fake, _, href):
        file_version(href, "B04")
        fake.good.clear()
        assert (read(href) == scene).all()
        assert fake.issued == 2


def test_a_store_that_refuses_all_is_an_error(tmp_path: Path, scene: np.ndarray) -> None:
    """There is no end of asking otherwise; the error tells neither signature nor key."""
    with computer(tmp_path) as (fake, _, href):
        fake.good = type("Nothing", (set,), {"add": lambda self, item: None})()
        with pytest.raises(StoreError) as caught:
            read(href)
        assert fake.issued <= 3
        assert_no_secrets(caught.value)


def test_a_service_that_does_not_sign_is_an_error(tmp_path: Path, scene: np.ndarray) -> None:
    """What the service answers is told, without the key."""
    with computer(tmp_path) as (fake, _, href):
        fake.status = 500
        with pytest.raises(StoreError, match=r"signature for .*/container from .*: the server answers 500") as caught:
            read(href)
        assert_no_secrets(caught.value)


def test_the_key_does_not_follow_a_redirect(tmp_path: Path, scene: np.ndarray) -> None:
    """A service that sends elsewhere gets no second request with the key."""
    with computer(tmp_path) as (_, _, href), website(lambda handler: send(handler, 200)) as other:
        with website(lambda handler: send(handler, 302, Location=f"http://127.0.0.1:{other.port}/")) as sender:
            access = Access(signing_url=f"http://127.0.0.1:{sender.port}", signing_key=KEY)
            with access_in_force(access), pytest.raises(StoreError, match="302"):
                read(href)
        assert not other.paths


def test_a_signature_that_ends_during_a_run_is_renewed(
    tmp_path: Path, scene: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that is refused in the middle of a scene goes on with a new signature."""
    monkeypatch.setattr(scene_reader, "FIRST_PAUSE_S", 0.01)
    with computer(tmp_path) as (fake, _, href):
        facts = raster_facts(href, "B04")
        grid: Grid = facts.grid
        live = pack_live(np.ones(tile_shape(grid, (128, 128)), np.bool_))
        source = BandSource("B04", href, 0, "uint16", None, 1, facts.block_px)
        plan = Plan("job", grid, (128, 128), 0, 1, 0, "reflect", (source,), "uint16", live)
        with SceneReader(plan, budget_bytes=1 << 20) as reader:
            for row in range(4):
                fake.good.clear()
                window = Window(row * 128, 0, row * 128 + 128, 500)
                assert (reader.read(window).pixels[0] == scene[0, row * 128 : row * 128 + 128, :500]).all()
        assert fake.issued > 1


def test_logs_tell_no_signature(tmp_path: Path, scene: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    """What GDAL and urllib3 log of their requests, down to the finest level, is without queries."""
    caplog.set_level("DEBUG")
    with computer(tmp_path) as (fake, _, href):
        read(href)
        fake.good.clear()
        file_version(href, "B04")
        signing._tokens.clear()
        with opened(href, "B04") as dataset:
            fake.good.clear()
            with pytest.raises(RasterioIOError):
                dataset.read()
    assert "scene.tif" in caplog.text
    assert "SECRET" not in caplog.text


def test_the_key_is_not_shown() -> None:
    """Who prints the access sees no key."""
    assert KEY not in repr(replace(Access(), signing_key=KEY, gdal=(("AZURE_STORAGE_ACCESS_KEY", KEY),)))
    assert split_notes(with_notes("s3://a/b#c", {"region": "x y"})) == ("s3://a/b#c", {"region": "x y"})


def assert_no_secrets(error: GeodlError) -> None:
    assert "SECRET" not in f"{error.message}{error.hint}"
    assert KEY not in f"{error.message}{error.hint}"

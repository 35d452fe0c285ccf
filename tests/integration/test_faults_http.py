"""Faults of a server: a scene over HTTP gives the bytes of a local one, or a run says plainly why not, and soon."""

import json
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from rasterio.shutil import copy

from commands import geodl
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.cli.main import geodl as command_line
from geodl_core.cli.main import guarded
from geodl_core.domain.query import ItemQuery
from items import write_item
from networks import conv_network, write_emd
from scenes import smooth, write_raster
from servers import FileServer

DATA = (".tif", ".xml", ".png", ".emd")
SECRET = "hunter2"
QUERY = f"?sig={SECRET}&X-Amz-Signature={SECRET}"
OPENING = 6
"""Requests before the first block of pixels: headers and versions; faults after these hit the middle of a run."""
_names = count()


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of the module's own, in this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEODL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass(frozen=True)
class Scene:
    """A COG with overviews, another version of it, and what an undisturbed run over the local file gives."""

    folder: Path
    content: bytes
    other: bytes
    expected: dict[str, bytes]

    def arguments(self, item, out):
        tiles = ("--arg", "tile_size=272", "--shards", "4", "--threads", "2")
        return ["run", item, "-m", self.folder / "net.emd", *tiles, "-o", out]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    conv_network(folder / "net.onnx")
    write_emd(folder)
    contents = []
    for seed in (3, 1):
        plain = write_raster(
            folder / "plain.tif", np.stack([smooth((1300, 1300), seed + band) for band in (0, 1)]), nodata=0
        )
        copy(plain, folder / "scene.tif", driver="COG", blocksize=128, compress="deflate")
        contents.append((folder / "scene.tif").read_bytes())
    write_item(folder, {"image": {"href": folder / "scene.tif"}})
    made = Scene(folder, contents[1], contents[0], {})
    done = geodl(*made.arguments(folder / "scene.json", folder / "whole"))
    assert done.returncode == 0, done.stderr
    made.expected.update(data(folder / "whole"))
    return made


def data(out):
    """Return the bytes of a result's data files by name."""
    return {path.name: path.read_bytes() for path in out.rglob("*") if path.suffix in DATA and path.is_file()}


def registered(out):
    if not (out / "catalog.db").exists():
        return ()
    with SqliteCatalog(out / "catalog.db") as catalog:
        return catalog.search(ItemQuery()).items


@dataclass(frozen=True)
class Far:
    """The scene on a server, under a path of its own, since GDAL keeps what it has read of a URL."""

    server: FileServer
    scene: Scene
    item: Path
    out: Path

    @property
    def words(self):
        return self.scene.arguments(self.item, self.out)


@pytest.fixture
def far(scene, tmp_path):
    (tmp_path / "www").mkdir()
    name = f"scene{next(_names)}.tif"
    (tmp_path / "www" / name).write_bytes(scene.content)
    document = json.loads((scene.folder / "scene.json").read_text())
    with FileServer(tmp_path / "www") as server:
        document["assets"]["image"]["href"] = server.url(name) + QUERY
        (tmp_path / "scene.json").write_text(json.dumps(document))
        yield Far(server, scene, tmp_path / "scene.json", tmp_path / "out")


def run(far, capfd):
    """Run geodl in this process; return its exit code and what it printed."""
    code = guarded(lambda: command_line.main(list(map(str, far.words)), standalone_mode=False))
    printed = capfd.readouterr()
    return code, printed.out + printed.err


def run_apart(far, limit_s, **env):
    """Run geodl in a process of its own that must end within a time; return its exit code and text."""
    started = time.monotonic()
    done = geodl(*far.words, **env)
    assert time.monotonic() - started < limit_s, f"{len(far.server.requests)} requests"
    return done.returncode, done.stderr


def error_line(text, *words):
    """Return the one line that says what went wrong; it holds the words and no secret."""
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert SECRET not in text
    for word in words:
        assert word in line
    return line


def is_bare(out):
    """Say whether a folder of results holds nothing: no file of a result, no part, no draft, no Item."""
    left = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith("catalog.db")]
    return left == [] and registered(out) == ()


def test_the_same_as_local(far, capfd):
    """A scene over HTTP gives the local one's bytes, at less than its file's size, with several requests at a time."""
    far.server.delay_s = 0.02
    code, text = run(far, capfd)
    assert code == 0, text
    assert data(far.out) == far.scene.expected
    got = [request for request in far.server.requests if request.method == "GET"]
    # Of a signed link GDAL asks for the whole and hangs up at the headers; how much was on its way then, is chance.
    assert sum(not request.range for request in got) <= 1
    assert sum(request.sent_bytes for request in got if request.range) <= len(far.scene.content)
    assert far.server.most_in_flight >= 4
    ranges = [request.range for request in got if request.range]
    assert len(ranges) == len(set(ranges)), "nothing is fetched twice"


def test_secrets_stay_where_they_were(far):
    """What signs a link is in no message, line, Item, Collection or catalog; the plan alone keeps the link."""
    done = geodl(*far.words)
    planned = geodl("plan", *far.words[1:], "--to", far.out / "job")
    assert done.returncode == planned.returncode == 0
    assert SECRET not in done.stdout + done.stderr + planned.stdout + planned.stderr
    holders = {path.name for path in far.out.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()}
    assert holders <= {"plan.json"}
    (item,) = registered(far.out)
    assert SECRET not in json.dumps(item)


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize(("after", "times"), [(0, 2), (OPENING, 6)])
def test_some_requests_fail(far, capfd, status, after, times):
    """A server that fails for some requests, at first or later, delays a run and changes nothing."""
    far.server.fail("/*", status, after=after, count=times)
    code, text = run(far, capfd)
    assert code == 0, text
    assert data(far.out) == far.scene.expected


@pytest.mark.parametrize("after", [1, OPENING + 2])
def test_a_connection_is_cut(far, capfd, after):
    """An answer that ends half-way is asked for again."""
    far.server.cut("/*", after=after, count=1)
    code, text = run(far, capfd)
    assert code == 0, text
    assert data(far.out) == far.scene.expected


def test_every_connection_is_cut(far):
    """A server that never finishes an answer ends the run with code 75, since it may do so later."""
    far.server.cut("/*", after=OPENING)
    code, text = run_apart(far, 30)
    error_line(text, "tile ", "asset image")
    assert is_bare(far.out)
    assert code == 75


def test_unavailable_from_the_start(far):
    """A server that cannot answer ends the run with code 75 within seconds, and says what it answers."""
    far.server.fail("/*", 503)
    code, text = run_apart(far, 20)
    assert code == 75
    error_line(text, "asset image", "127.0.0.1")
    assert is_bare(far.out)


def test_unavailable_in_the_middle(far):
    """A server that cannot answer any more ends the run with code 75 within half a minute; healed, it completes."""
    far.server.fail("/*", 503, after=OPENING)
    code, text = run_apart(far, 30)
    assert code == 75
    error_line(text, "tile ", "asset image", "503")
    assert is_bare(far.out)
    far.server.heal()
    assert geodl(*far.words).returncode == 0
    assert data(far.out) == far.scene.expected


def test_users_set_how_patient_gdal_is(far):
    """GDAL's own settings of patience in the environment hold."""
    far.server.fail("/*", 503)
    code, _ = run_apart(far, 20, GDAL_HTTP_MAX_RETRY="0")
    assert code == 75
    # geodl asks for the file's version, GDAL asks once, and geodl once more for the reason.
    assert len(far.server.requests) == 3


def test_a_server_that_hangs(far):
    """A server that takes requests and answers none ends the run with code 75, within the patience asked for."""
    far.server.hang("/*", after=OPENING)
    patience = {"GDAL_HTTP_LOW_SPEED_TIME": "1", "GDAL_HTTP_TIMEOUT": "2", "GDAL_HTTP_MAX_RETRY": "0"}
    code, text = run_apart(far, 30, **patience)
    assert code == 75
    error_line(text, "tile ", "asset image")
    assert is_bare(far.out)


@pytest.mark.parametrize(("status", "code"), [(404, 2), (403, 75)])
def test_refused_when_planned(far, capfd, status, code):
    """A file that is not there, or a link that does not hold, is said as what it is, at once."""
    far.server.fail("/*", status)
    found, text = run(far, capfd)
    error_line(text, "asset image", str(status))
    assert found == code
    assert len(far.server.requests) <= 3
    assert is_bare(far.out)


def test_refused_in_the_middle(far):
    """A link that runs out in the middle of a run ends it with code 75 and the server's answer, soon."""
    far.server.fail("/*", 403, after=OPENING)
    code, text = run_apart(far, 20)
    assert code == 75
    error_line(text, "tile ", "asset image", "403")
    assert is_bare(far.out)


def test_a_truncated_file(far):
    """A file that lost its end on the server ends the run with code 3, and is not asked for again and again."""
    far.server.truncate("/*", len(far.scene.content) // 2)
    code, text = run_apart(far, 20)
    assert code == 3
    error_line(text, "tile ", "asset image", "rows ")
    assert is_bare(far.out)
    blocks = 11 * 11
    assert len(far.server.requests) <= 3 * blocks


@pytest.mark.parametrize("kind", ["content", "etag"])
def test_changed_between_plan_and_shard(far, kind):
    """A file that is another one than was planned for is refused by name; what was computed before stays."""
    job = far.out / "job"
    assert geodl("plan", *far.words[1:], "--to", job).returncode == 0
    assert geodl("shard", job, 0, 4, "--quiet").returncode == 0
    kept = sorted(path.name for path in (job / "parts").iterdir())
    far.server.change("/*", far.scene.other if kind == "content" else None)
    refused = geodl("shard", job, 1, 4, "--quiet")
    assert refused.returncode == 2
    error_line(refused.stderr, "asset image", "not the one that was planned for")
    assert sorted(path.name for path in (job / "parts").iterdir()) == kept


@pytest.mark.parametrize("after", [OPENING, 16])
def test_changed_in_the_middle(far, after):
    """A file that changes in the middle of a run ends it with code 2; no part of the mixture is kept."""
    far.server.change("/*", far.scene.other, after=after)
    code, text = run_apart(far, 20)
    error_line(text, "asset image")
    assert is_bare(far.out)
    assert code == 2
    far.server.heal()
    assert geodl(*far.words).returncode == 0
    assert data(far.out) == far.scene.expected


def test_changed_and_read_again_by_one_process(far, capfd):
    """A process that ran a scene before does not take what it kept of the old file for the new one."""
    assert run(far, capfd)[0] == 0
    far.server.change("/*", far.scene.other)
    code, text = run(far, capfd)
    assert code == 0, text
    kept = {path.parent.name: path.read_bytes() for path in far.out.rglob("classification.tif")}
    fresh = Far(far.server, far.scene, far.item, far.out.parent / "fresh")
    assert geodl(*fresh.words).returncode == 0
    (expected,) = fresh.out.rglob("classification.tif")
    assert kept[expected.parent.name] == expected.read_bytes()

"""Local faults: damaged blocks, full disks, no memory, SIGKILL. A run ends whole and the same, or says why not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from commands import geodl
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.query import ItemQuery
from items import write_item
from networks import conv_network, write_emd
from scenes import smooth, write_raster

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and kills as POSIX systems do")
DATA = (".tif", ".xml", ".png", ".emd")
TILES = ("--arg", "tile_size=144", "--shards", "8", "--threads", "2")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of the module's own, in this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEODL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


DRIVER = """
import json, os, signal, sys
from geodl_core.cli.main import geodl, guarded
import geodl_core.catalog.open, geodl_core.cli.job_options, geodl_core.service.jobs.read_job, geodl_core.cli.progress
import geodl_core.cli.report, geodl_core.cli.run, geodl_core.cli.stages, geodl_core.engine.merge_plan
import geodl_core.engine.estimate_run, geodl_core.engine.open_worker, geodl_core.engine.plan_files, onnxruntime

def work(step):
    count = 0
    def listen(event, found):
        nonlocal count
        if event.startswith(("open", "os.", "sqlite3.", "tempfile.")) and step["within"] in str(found[:2]):
            count += 1
            if count == step["kill_at"]:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(listen)
    log = os.open(step["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    os.environ["GEODL_CACHE"] = step["cache"]
    code = guarded(lambda: geodl.main(step["arguments"], standalone_mode=False))
    sys.stdout.flush(), sys.stderr.flush()
    with open(step["log"] + ".count", "w") as file:
        file.write(str(count))
    os._exit(code)

for line in sys.stdin:
    process = os.fork()
    if not process:
        try:
            work(json.loads(line))
        finally:
            os._exit(99)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""
"""Runs commands, one a line, each in a child that kills itself with SIGKILL before its `kill_at`-th file operation."""


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    returncode: int
    """Negative where a signal ended it."""
    stderr: str
    """All that it printed."""
    count: int
    """Of its file operations within the folder that was watched; 0 for one that was killed."""


class Driver:
    """Runs commands in children of one process, which spares each the imports."""

    def __init__(self, child, log, cache):
        self.child, self.log, self.cache = child, log, cache

    def __call__(self, words, within="", kill_at=None):
        """Run a command; kill it before its `kill_at`-th operation on paths that hold `within`."""
        step = {"arguments": list(map(str, words)), "within": str(within), "kill_at": kill_at}
        step |= {"cache": self.cache, "log": str(self.log)}
        self.child.stdin.write(json.dumps(step) + "\n")
        self.child.stdin.flush()
        code = int(self.child.stdout.readline())
        count = int(Path(f"{self.log}.count").read_text()) if code >= 0 else 0
        return Done(code, self.log.read_text(), count)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """The driver of this module's commands."""
    command = [sys.executable, "-W", "ignore", "-c", DRIVER]
    log = tmp_path_factory.mktemp("driver") / "log"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        yield Driver(child, log, os.environ["GEODL_CACHE"])
        child.stdin.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory, drive):
    """A scene of 64 tiles with its model, and the bytes of an undisturbed run's data files. Not to be changed."""
    folder = make(tmp_path_factory.mktemp("source"))
    done = drive(arguments(folder, folder / "whole"))
    assert done.returncode == 0, done.stderr
    return folder, data(folder / "whole")


def make(folder, **more):
    pixels = np.stack([smooth((900, 900), 1), smooth((900, 900), 2)])
    write_item(folder, {"image": {"href": write_raster(folder / "scene.tif", pixels, nodata=0, **more)}})
    conv_network(folder / "net.onnx")
    write_emd(folder)
    return folder


def arguments(folder, out):
    return ["run", folder / "scene.json", "-m", folder / "net.emd", *TILES, "-o", out]


def data(out):
    """Return the bytes of a result's data files by name."""
    return {path.name: path.read_bytes() for path in out.rglob("*") if path.suffix in DATA and path.is_file()}


def parts(out):
    """Return the whole parts and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.rglob("*.part") if path.parent.name == "parts"}


def registered(out):
    if not (out / "catalog.db").exists():
        return ()
    with SqliteCatalog(out / "catalog.db") as catalog:
        return catalog.search(ItemQuery()).items


def drafts(folder):
    return [str(path.relative_to(folder)) for path in folder.rglob(".draft-*")]


def is_whole(out, expected):
    """Say whether a folder of results holds the expected data and one registered Item."""
    assert len(registered(out)) == 1
    return data(out) == expected


def is_bare(out):
    """Say whether a folder of results holds none, neither whole nor half."""
    assert registered(out) == ()
    return data(out) == {} and drafts(out) == []


def error_line(done, code, *words):
    """Return the one line that says what went wrong; it holds the words."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]
    return lines[0]


def process(code, *more):
    """Run Python code in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, more)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@dataclass(frozen=True)
class Damage:
    """A scene's file that can be damaged and mended without a trace in its size and time."""

    path: Path
    good: bytes
    mtime_ns: int

    def block(self, row, col):
        """Return where a block lies: offset and size."""
        with rasterio.open(self.path) as dataset:
            tags = [dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1) for what in ("OFFSET", "SIZE")]
        return tuple(map(int, tags))

    def scribbled(self, row, col):
        """Return the bytes with a damaged block.

        By ones: zlib sees no fault in many other changes, and libtiff stops before it compares the Adler-32 sum.
        """
        start, size = self.block(row, col)
        at = start + size // 3
        return self.good[:at] + b"\xff" * 64 + self.good[at + 64 :]

    def holed(self, row):
        """Return the bytes with zeros from a row of blocks on, as a transfer that stopped leaves them."""
        start, _ = self.block(row, 0)
        return self.good[:start] + bytes(len(self.good) - start)

    def write(self, content):
        self.path.write_bytes(content)
        os.utime(self.path, ns=(self.mtime_ns, self.mtime_ns))


def damage_of(folder):
    path = folder / "scene.tif"
    return Damage(path, path.read_bytes(), path.stat().st_mtime_ns)


def test_a_damaged_block(source, drive, tmp_path):
    """A damaged block ends with code 3 and names the asset; with the file mended the same command completes."""
    folder = make(tmp_path)
    damage = damage_of(folder)
    damage.write(damage.scribbled(6, 3))
    # Without overviews the pre-scan meets it, which knows of no tiles.
    error_line(geodl(*arguments(folder, folder / "out")), 3, "asset image", "rows ")
    assert is_bare(folder / "out")
    damage.write(damage.good)
    assert drive(arguments(folder, folder / "out")).returncode == 0
    assert is_whole(folder / "out", source[1])


def test_a_hole_after_planning(source, drive, tmp_path):
    """A file damaged after planning, with size and time as planned, fails the shards that need it, and only them."""
    folder = make(tmp_path)
    damage, plan = damage_of(folder), folder / "job" / "plan.json"
    assert drive(["plan", *arguments(folder, folder)[1:], "--to", plan.parent]).returncode == 0
    damage.write(damage.holed(5))
    assert drive(["shard", plan, 0, 4, "--quiet"]).returncode == 0
    kept = parts(plan.parent)
    error_line(drive(["shard", plan, 3, 4, "--quiet"]), 3, "tile ", "asset image", "rows ")
    error_line(drive(["merge", plan, "--shards", 4]), 3, "3 of 4 parts are missing")
    assert is_bare(plan.parent)
    damage.write(damage.good)
    for n in range(4):
        assert drive(["shard", plan, n, 4, "--quiet"]).returncode == 0
    assert kept.items() <= parts(plan.parent).items()
    assert drive(["merge", plan, "--shards", 4]).returncode == 0
    assert data(plan.parent) == source[1]


SPOILING = """
import os, sys
target, content, time_ns = sys.argv[1:4]
del sys.argv[1:4]
def spoil(event, found):
    if event == "tempfile.mkdtemp" and "parts" in str(found[0]) and os.path.exists(content):
        with open(target, "r+b") as file, open(content, "rb") as other:
            os.unlink(content)
            file.write(other.read())
            file.truncate()
        if int(time_ns):
            os.utime(target, ns=(int(time_ns), int(time_ns)))
sys.addaudithook(spoil)
from geodl_core.engine import open_worker
open_worker.READ_BYTES = 2 << 20
from geodl_core.cli.main import main
main()
"""
"""Gives a file other content when the first part is begun, and lets little be read before."""


def spoiled(folder, content, time_ns):
    """Run geodl while its scene's file gets another content."""
    (folder / "content").write_bytes(content)
    words = [folder / "scene.tif", folder / "content", time_ns, *arguments(folder, folder / "out")]
    return process(SPOILING, *words)


def test_a_hole_while_it_runs(source, drive, tmp_path):
    """Damage in the middle of a run names tile and asset; the parts before it stay, and serve once it is mended."""
    folder = make(tmp_path)
    damage = damage_of(folder)
    error_line(spoiled(folder, damage.holed(5), damage.mtime_ns), 3, "tile ", "asset image", "rows ")
    kept = parts(folder / "out")
    assert kept
    assert is_bare(folder / "out")
    damage.write(damage.good)
    mended = drive([*arguments(folder, folder / "out"), "--keep-parts"])
    assert mended.returncode == 0
    assert "of an earlier run" in mended.stderr
    assert kept.items() <= parts(folder / "out").items()
    assert is_whole(folder / "out", source[1])


def test_another_scene_while_it_runs(tmp_path):
    """A file that another scene takes the place of in the middle of a run ends it with code 2; no mixture is kept."""
    folder = make(tmp_path)
    pixels = np.stack([smooth((900, 900), 3), smooth((900, 900), 4)])
    other = write_raster(folder / "other.tif", pixels, nodata=0).read_bytes()
    # With the cut that makes blocks undecodable, and without.
    error_line(spoiled(folder, other, 0), 2, "asset image")
    assert is_bare(folder / "out")
    assert parts(folder / "out") == {}


def test_cut_while_it_runs(tmp_path):
    """A file that is cut short in the middle of a run is another one: code 2, as if it had been changed before."""
    folder = make(tmp_path)
    content = (folder / "scene.tif").read_bytes()
    error_line(spoiled(folder, content[: len(content) * 6 // 10], 0), 2, "asset image")
    assert is_bare(folder / "out")


def test_mended_with_another_time(source, drive, tmp_path):
    """A file cut short between stages is refused with code 2; mended with another time all is computed anew."""
    folder = make(tmp_path)
    damage, out = damage_of(folder), folder / "out"
    assert drive(["plan", *arguments(folder, out)[1:]]).returncode == 0
    (plan,) = out.rglob("plan.json")
    assert drive(["shard", plan, 0, 8, "--quiet"]).returncode == 0
    damage.write(damage.good[: len(damage.good) * 6 // 10])
    error_line(drive(["shard", plan, 1, 8, "--quiet"]), 2, "asset image", "not the one that was planned for")
    damage.path.write_bytes(damage.good)
    os.utime(damage.path, ns=(damage.mtime_ns + 10**9, damage.mtime_ns + 10**9))
    done = drive(arguments(folder, out))
    assert done.returncode == 0
    assert "of an earlier run" not in done.stderr
    assert is_whole(out, source[1])


@pytest.mark.parametrize("kind", ["overviews", "nodata alone", "no nodata"])
def test_damage_outside_the_area(drive, tmp_path, kind):
    """Damage outside the area of interest does not matter, neither to the pre-scan nor to the tiles."""
    folder = make(tmp_path)
    scene = folder / "scene.tif"
    with rasterio.open(scene, "r+") as dataset:
        x, y = dataset.transform * (0, 0)
        area = transform_bounds(dataset.crs, "EPSG:4326", x + 500, y - 2500, x + 2500, y - 500)
        if kind == "overviews":
            dataset.build_overviews([2, 4, 8])
        if kind == "no nodata":
            write_raster(scene, dataset.read())
    command = [*arguments(folder, folder / "whole"), "--aoi", ",".join(map(str, area))]
    assert drive(command).returncode == 0
    # Blocks are decoded in cells of 512 pixels; this one lies beyond those that the area needs.
    scene.write_bytes(damage_of(folder).scribbled(6, 6))
    command[command.index(folder / "whole")] = folder / "out"
    done = drive(command)
    assert done.returncode == 0, done.stderr
    assert is_whole(folder / "out", data(folder / "whole"))


FULL_FROM = """
import os, resource, sys
marker, ballast = sys.argv[1:3]
del sys.argv[1:3]
def fill(event, found):
    global marker
    if event == "open" and marker and marker in str(found[0]) and str(found[1])[:1] in "wa":
        marker = ""
        if not ballast:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
            return
        with open(ballast, "wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass
sys.addaudithook(fill)
from geodl_core.cli.main import main
main()
"""
"""Fills the disk when a file whose path holds the marker is opened for writing."""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MB and the path of a file that can fill it; without the right to mount one, a folder."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    is_mounted = shutil.which("mount") and not subprocess.run(mount, capture_output=True, check=False).returncode
    yield place, str(place / "ballast") if is_mounted else ""
    if is_mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize(
    "marker", ["00003-of-00008.part", "overview-0", "classification.tif", "preview.png", "collection.json"]
)
def test_a_full_disk(source, drive, small_disk, marker):
    """Whatever is written when the disk is full, the run ends with code 75; with space the same command completes."""
    (folder, expected), (disk, ballast) = source, small_disk
    command = arguments(folder, disk / "out")
    line = error_line(process(FULL_FROM, marker, ballast, *command), 75)
    assert "No space left on device" in line or not ballast
    assert registered(disk / "out") == ()
    assert drafts(disk) == []
    kept = parts(disk / "out")
    assert len(kept) == (3 if "part" in marker else 8)
    (disk / "ballast").unlink(missing_ok=True)
    again = drive([*command, "--keep-parts"])
    assert again.returncode == 0, again.stderr
    assert kept.items() <= parts(disk / "out").items()
    assert is_whole(disk / "out", expected)


LIMITED = """
import resource, sys
from geodl_core.cli import main
import geodl_core.catalog.open, geodl_core.cli.run, geodl_core.engine.run_scene, onnxruntime
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + (int(sys.argv.pop(1)) << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
main.main()
"""
"""Allows so many MiB of address space beyond what the libraries take."""


def limited(folder, out, mebibytes):
    words = ["run", folder / "scene.json", "-m", folder / "net.emd", "--threads", "2", "-o", out]
    return words, process(LIMITED, mebibytes, *words)


@pytest.mark.skipif(sys.platform != "linux", reason="counts address space as Linux does")
@pytest.mark.parametrize("mebibytes", [100, 170, 230])
def test_no_memory(source, drive, tmp_path, mebibytes):
    """Without memory a run never leaves a hole: it gives the same bytes or fails, and then goes on with more."""
    folder, _ = source
    words, done = limited(folder, tmp_path / "out", mebibytes)
    words[words.index(tmp_path / "out")] = tmp_path / "whole"
    assert drive(words).returncode == 0
    if done.returncode:
        assert data(tmp_path / "out") == {}
        assert registered(tmp_path / "out") == ()
        words[words.index(tmp_path / "whole")] = tmp_path / "out"
        assert drive(words).returncode == 0
    assert is_whole(tmp_path / "out", data(tmp_path / "whole"))


@pytest.mark.skipif(sys.platform != "linux", reason="counts address space as Linux does")
def test_no_memory_is_said(source, tmp_path):
    """Memory that ends outside the network is no fault in geodl: code 4 as inside it, one line and a hint."""
    _, done = limited(source[0], tmp_path / "out", 20)
    assert "unexpected" not in error_line(done, 4, "memory")
    assert "hint: " in done.stderr


def test_killed_at_ten_moments(source, drive, tmp_path):
    """Killed with SIGKILL at any of ten random moments, a run repeated ends with an undisturbed one's bytes."""
    folder, expected = source
    total = drive(arguments(folder, tmp_path / "first"), within=tmp_path / "first").count
    assert data(tmp_path / "first") == expected
    for moment in sorted(random.Random(20).sample(range(1, total + 1), 10)):
        out = tmp_path / f"at{moment}"
        assert drive(arguments(folder, out), out, moment).returncode == -signal.SIGKILL
        done = drive(arguments(folder, out))
        assert done.returncode == 0, done.stderr
        assert is_whole(out, expected), f"killed at operation {moment} of {total}"
        (job,) = out.glob("*/scene_*")
        assert drafts(job) == [], f"killed at operation {moment} of {total}"


def test_killed_again_and_again(source, drive, tmp_path):
    """A run killed ten times in a row makes its way, and ends with the same bytes."""
    folder, expected = source
    command, chance = arguments(folder, tmp_path / "out"), random.Random(7)
    codes = [drive(command, tmp_path / "out", chance.randrange(20, 110)).returncode for _ in range(10)]
    assert codes.count(-signal.SIGKILL) >= 3
    assert drive(command).returncode == 0
    assert is_whole(tmp_path / "out", expected)


def test_killed_while_registering(source, drive, tmp_path):
    """A run killed while it writes the Collection leaves no draft of it once it is repeated."""
    folder, expected = source
    within = "geodl-net/.draft-"
    total = drive(arguments(folder, tmp_path / "first"), within).count
    assert total
    for moment in range(1, total + 1, 3):
        out = tmp_path / f"at{moment}"
        assert drive(arguments(folder, out), within, moment).returncode == -signal.SIGKILL
        assert drive(arguments(folder, out)).returncode == 0
        assert is_whole(out, expected)
    assert drafts(tmp_path) == []


def stages(folder, out):
    """Return the commands of the stages, two shards."""
    plan = out / "plan.json"
    return {
        "plan": ["plan", *arguments(folder, folder)[1:], "--to", out],
        "shard 0": ["shard", plan, 0, 2, "--quiet"],
        "shard 1": ["shard", plan, 1, 2, "--quiet"],
        "merge": ["merge", plan, "--shards", 2],
        "register": ["register", plan, "--catalog", out / "catalog.db"],
    }


@pytest.fixture(scope="module")
def killed_stages(source, drive, tmp_path_factory):
    """Folders of results whose every stage was killed at a random moment of its own and repeated."""
    folder, place = source[0], tmp_path_factory.mktemp("stages")
    first = {name: drive(command, place / "first") for name, command in stages(folder, place / "first").items()}
    assert [done.returncode for done in first.values()] == [0] * 5
    for seed in range(3):
        chance, out = random.Random(seed), place / f"seed{seed}"
        for name, command in stages(folder, out).items():
            killed = drive(command, out, chance.randint(1, first[name].count))
            assert killed.returncode == -signal.SIGKILL
            done = drive(command)
            assert done.returncode == 0, (name, done.stderr)
    return [place / f"seed{seed}" for seed in range(3)]


def test_killed_stages(source, killed_stages):
    """Every stage may be killed and repeated: the bytes are those of a whole run."""
    for out in killed_stages:
        assert is_whole(out, source[1])


def test_killed_stages_leave_no_drafts(killed_stages):
    """What a killed stage left unfinished is gone once all stages have been repeated."""
    assert [name for out in killed_stages for name in drafts(out)] == []


def test_a_killed_process_group(source, tmp_path):
    """A process group killed at moments of the clock goes on where it stopped."""
    folder, expected = source
    out, chance = tmp_path / "out", random.Random(3)
    geodl_command = [sys.executable, "-W", "ignore", "-c", "from geodl_core.cli.main import main; main()"]
    command = ["sh", "-c", '"$@"; true', "sh", *geodl_command, *map(str, arguments(folder, out))]
    for _ in range(2):
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as shell:
            deadline = time.monotonic() + 30
            while not parts(out) and shell.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.3))
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
    done = geodl(*arguments(folder, out))
    assert done.returncode == 0, done.stderr
    assert is_whole(out, expected)

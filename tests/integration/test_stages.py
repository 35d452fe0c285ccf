"""Plan, shard, merge and register as commands of their own, in folders and in an object store."""

import hashlib
import json
import logging
import os
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import requests
from moto.server import ThreadedMotoServer
from onnx import TensorProto, helper, numpy_helper

from commands import geodl, geodl_here
from geodl_core.io.remote import object_stores
from geodl_core.io.remote.objects import delete, exists, join, list_names, read_object, write_object
from items import write_item
from networks import conv_network, save, write_emd
from runs import data_files
from scenes import smooth, write_raster
from websites import send, website

SHAPE = (300, 410)
JOB = ("scene.json", "-m", "net.emd", "--arg", "tile_size=96", "--band", "0=image:1", "--band", "1=image:2")
SHARDS = 5
MOST_BYTES = 1 << 24


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A folder with a scene, a mask and a model, where commands run."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path.with_name(f"{tmp_path.name}-cache")))
    for name in ("GEODL_OUT", "GEODL_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    pixels = np.stack([smooth(SHAPE, 1), smooth(SHAPE, 2)])
    pixels[:, :120, :90] = 0
    classes = np.kron(np.random.default_rng(1).integers(0, 9, (10, 13)), np.ones((32, 32))).astype("uint8")
    assets = {
        "image": {"href": write_raster(tmp_path / "scene.tif", pixels, nodata=0)},
        "scl": {"href": write_raster(tmp_path / "scl.tif", classes[None, : SHAPE[0], : SHAPE[1]])},
    }
    write_item(tmp_path, assets)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path


def done(*words):
    """Run a command that must succeed; return what it prints."""
    result = geodl_here(*words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def failed(code, *words):
    """Run a command that must fail with a code, in a line or two; return these."""
    result = geodl_here(*words)
    assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
    errors = [line for line in result.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
    assert errors, result.stderr
    assert not any("Traceback" in line or "unexpected" in line for line in result.stderr.splitlines())
    return "\n".join(errors)


def whole(*options):
    """Run `geodl run` into a folder of its own; return what it prints and its data files."""
    document = json.loads(done("run", *JOB, "-o", "whole", "--json", *options))
    return document, data_files(Path(document["folder"]))


def plan_to(place, *options):
    return json.loads(done("plan", *JOB, "--shards", SHARDS, "--to", place, "--json", *options))


def shards(plan, numbers=range(SHARDS), *options):
    return [done("shard", plan, n, SHARDS, "--quiet", *options) for n in numbers]


ASKED = {
    "plain": (),
    "all": (
        *("--arg", "return_probability_raster=float32;test_time_augmentation=true;merge_policy=max"),
        *("--mask", "scl=3,8", "--aoi", "12.32,47.80,12.36,47.82", "--compress", "zstd", "--pad", "edge"),
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_stages_equal_run(scene, monkeypatch, name):
    """Shards in any order, from another folder, without Item and model, twice, give the files of one run."""
    document, expected = whole(*ASKED[name])
    planned = plan_to("apart", *ASKED[name])
    assert planned["job_id"][:8] in document["id"]
    for needless in ("scene.json", "net.emd", "net.onnx"):
        (scene / needless).unlink()
    elsewhere = scene / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    plan = "../apart/plan.json"
    assert all(text.startswith("computed") for text in shards(plan, (3, 0, 4, 1, 2)))
    parts = {path: path.stat().st_mtime_ns for path in (scene / "apart" / "parts").iterdir()}
    assert len(parts) == SHARDS
    assert all(text.startswith("present") for text in shards(plan, (4, 2, 0, 1, 3)))
    assert {path: path.stat().st_mtime_ns for path in (scene / "apart" / "parts").iterdir()} == parts
    done("merge", plan)
    item = json.loads(done("register", plan, "--catalog", "here.db", "--json"))
    assert data_files(scene / "apart") == expected
    assert item["id"] == document["id"]
    assert not (scene / "apart" / "parts").exists()
    assert not list(elsewhere.glob("geodl-out"))
    found = json.loads(done("search", "--catalog", "here.db", "--json"))["features"]
    assert [entry["id"] for entry in found] == [document["id"]]
    for key, asset in found[0]["assets"].items():
        assert Path(asset["href"]).is_file(), key
    run_item = json.loads(Path(document["item"]).read_text())
    changing = ("created", "updated", "processing:datetime")
    for entry in (item, run_item):
        for key in changing:
            del entry["properties"][key]
    assert item["properties"] == run_item["properties"]


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_plan_that_is_merged_computes_nothing(scene, bucket, is_remote):
    """A shard says so and leaves no part; once a file of the result is lost, or with --force, it computes."""
    place = bucket if is_remote else "here"
    plan = plan_to(place)["plan"]
    shards(plan)
    done("merge", plan)
    assert shards(plan) == [f"merged   beside {plan}: nothing was computed\n"] * SHARDS
    assert shards(plan, (0,), "--force")[0].startswith("computed")
    # What was merged does not stand for the part that is new.
    assert "parts are missing" in failed(3, "merge", plan)
    assert [text.split()[0] for text in shards(plan)] == ["present", *["computed"] * (SHARDS - 1)]
    done("merge", plan)
    raster = next(name for name in list_names(place) if name.endswith(".tif"))
    delete(join(place, raster))
    assert shards(plan, (1,))[0].startswith("computed")


def nan_scene(scene):
    """Pixels of float32 whose nodata is NaN, and a band that has another."""
    pixels = np.stack([smooth(SHAPE, 1), smooth(SHAPE, 2)]).astype("float32")
    pixels[:, :100, :90] = np.nan
    write_raster(scene / "scene.tif", pixels, nodata=np.nan)
    return JOB


def infinite_nodata(scene):
    """Pixels of float32 whose nodata is an infinity."""
    pixels = np.stack([smooth(SHAPE, 1), smooth(SHAPE, 2)]).astype("float32")
    pixels[:, :100, :90] = -np.inf
    write_raster(scene / "scene.tif", pixels, nodata=-np.inf)
    return JOB


def preprocessed(scene):
    """A model of two graphs."""
    square_root(scene / "root.onnx")
    write_emd(scene, PreprocessingModel="root.onnx")
    return JOB


def text(scene):
    """A model given as text."""
    content = json.dumps({**json.loads((scene / "net.emd").read_text()), "ModelName": "größe & co"}, ensure_ascii=False)
    return ("scene.json", "-m", content, *JOB[3:])


def packed(scene):
    """A model in a package, whose definition lies in a folder of it."""
    with zipfile.ZipFile(scene / "net.dlpk", "w") as archive:
        for name in ("net.emd", "net.onnx"):
            archive.write(scene / name, f"inner/{name}")
    return ("scene.json", "-m", "net.dlpk", *JOB[3:])


def registered(scene):
    """A model of the registry, named by a part of its version."""
    done("model", "add", "net.emd")
    return ("scene.json", "-m", "net", "--catalog", "geodl-out/catalog.db", *JOB[3:])


def repaired(scene):
    """A definition with a comma too many."""
    path = scene / "net.emd"
    path.write_text(path.read_text().replace("}", ",}", 1))
    return JOB


KINDS = (nan_scene, infinite_nodata, preprocessed, text, packed, registered, repaired)


def square_root(path):
    nodes = [helper.make_node("Sqrt", ["x"], ["s"]), helper.make_node("Mul", ["s", "m"], ["y"])]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, "h", "w"]) for name in "xy"]
    weights = [numpy_helper.from_array(np.float32(40), "m")]
    save(helper.make_graph(nodes, "root", value[:1], value[1:], weights), path)


@pytest.mark.parametrize("kind", KINDS)
def test_plans_of_any_kind(scene, kind):
    """Plans keep nodata that JSON has no number for, and models of every form; the Item is that of one run."""
    job = kind(scene)
    document = json.loads(done("run", *job, "-o", "whole", "--json"))
    done("plan", *job, "--shards", 2, "--to", "apart")
    for n in (1, 0):
        done("shard", "apart", n, 2, "--quiet")
    done("merge", "apart")
    item = json.loads(done("register", "apart", "--catalog", "cat.db", "--json"))
    assert data_files(scene / "apart") == data_files(Path(document["folder"]))
    ran = json.loads(Path(document["item"]).read_text())["properties"]
    for name in ("geodl:rerun", "geodl:arguments", "geodl:model_sha256", "geodl:job_id", "geodl:radiometry"):
        assert item["properties"].get(name) == ran.get(name), name


def test_stages_as_processes(scene):
    """Shards that run in processes of their own at once give what one process gives."""
    _, expected = whole()
    plan_to("apart")
    shards("apart/plan.json", range(2))
    for n in range(2, SHARDS):
        result = geodl("shard", "apart", n, SHARDS, "--threads", 1, cwd=scene)
        assert result.returncode == 0, result.stderr
    done("merge", "apart")
    assert data_files(scene / "apart") == expected


def test_other_numbers_of_shards(scene):
    """A plan may be run in another number of shards than planned, if merging is told so."""
    _, expected = whole()
    plan_to("apart")
    for n in (2, 0, 1):
        done("shard", "apart", n, 3, "--quiet")
    failed(3, "merge", "apart")
    done("merge", "apart", "--shards", 3, "--keep-parts")
    assert data_files(scene / "apart") == expected
    assert len(list((scene / "apart" / "parts").iterdir())) == 3


def test_more_shards_than_tiles(scene):
    """Shards without tiles have parts too, and change nothing."""
    _, expected = whole()
    planned = plan_to("apart")
    count = planned["live"] + 2
    for n in range(count):
        done("shard", "apart", n, count, "--quiet")
    done("merge", "apart", "--shards", count)
    assert data_files(scene / "apart") == expected


def test_plan_in_the_results(scene, monkeypatch):
    """A plan without --to lies in the result's folder; its stages give what `geodl run` finds there."""
    planned = json.loads(done("plan", *JOB, "--shards", SHARDS, "--json"))
    folder = Path(planned["plan"]).absolute().parent
    shards(planned["plan"])
    done("merge", planned["plan"])
    done("register", planned["plan"])
    document = json.loads(done("run", *JOB, "--json"))
    assert document["status"] == "present"
    assert Path(document["folder"]) == folder
    assert (folder.parent / "collection.json").is_file()
    assert data_files(folder) == whole()[1]


def test_run_goes_on_where_shards_stopped(scene):
    """`geodl run` uses the parts that shards left in the result's folder."""
    planned = json.loads(done("plan", *JOB, "--shards", SHARDS, "--json"))
    shards(planned["plan"], (1, 3))
    result = geodl_here("run", *JOB, "--shards", SHARDS)
    assert result.returncode == 0, result.stderr
    assert "tiles of an earlier run" in result.stderr


def test_register_from_within(scene, monkeypatch):
    """Registered from within its folder, a result comes into the same catalog as from anywhere else."""
    planned = json.loads(done("plan", *JOB, "--shards", 1, "--json"))
    done("shard", planned["plan"], 0, 1, "--quiet")
    done("merge", planned["plan"])
    monkeypatch.chdir(Path(planned["plan"]).parent)
    done("register", "plan.json")
    assert not Path("geodl-out").exists()
    monkeypatch.chdir(scene)
    assert json.loads(done("search", "--json"))["features"]


def test_register_where_run_does(scene, monkeypatch):
    """Where GEODL_CATALOG names a catalog, `register` publishes there, as `run` does."""
    monkeypatch.setenv("GEODL_CATALOG", str(scene / "mine.db"))
    planned = json.loads(done("plan", *JOB, "--shards", 1, "--json"))
    done("shard", planned["plan"], 0, 1, "--quiet")
    done("merge", planned["plan"])
    done("register", planned["plan"])
    assert len(json.loads(done("search", "--catalog", "mine.db", "--json"))["features"]) == 1
    assert json.loads(done("run", *JOB, "--json"))["status"] == "present"


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "of another shard", "empty"])
def test_damaged_parts(scene, damage):
    """A part that is missing or damaged is named, nothing is written, and computing it again is enough."""
    plan_to("apart")
    shards("apart")
    victim, other = (scene / "apart" / "parts" / f"0000{n}-of-00005.part" for n in (3, 1))
    content = victim.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    if damage == "missing":
        victim.unlink()
    else:
        others = {"truncated": content[:-30], "changed": changed, "empty": b""}
        victim.write_bytes(others.get(damage, other.read_bytes()))
    message = failed(3, "merge", "apart/plan.json")
    assert "1 of 5 parts" in message
    assert ": 3\n" in message
    assert "geodl shard" in message
    assert not list((scene / "apart").glob("*.tif"))
    assert shards("apart", [3])[0].startswith("computed")
    done("merge", "apart")


def test_stages_out_of_order(scene):
    """Merging before the shards, or registering before merging, says what comes first and writes nothing."""
    plan_to("apart")
    before = sorted((scene / "apart").iterdir())
    message = failed(3, "merge", "apart")
    assert "5 of 5 parts" in message
    assert "geodl shard" in message
    assert "geodl merge" in failed(2, "register", "apart", "--catalog", "cat.db")
    assert [path for path in sorted((scene / "apart").iterdir()) if path.name != "parts"] == before


def test_merging_again(scene):
    """Merging and registering again, as a retry does, are harmless."""
    plan_to("apart")
    shards("apart")
    done("merge", "apart")
    done("register", "apart", "--catalog", "cat.db")
    before = data_files(scene / "apart")
    done("register", "apart", "--catalog", "cat.db")
    done("merge", "apart")
    assert data_files(scene / "apart") == before


@pytest.mark.parametrize(("n", "of"), [(5, 5), (7, 3), (-1, 3), (0, 0)])
def test_shards_outside_the_plan(scene, n, of):
    """A shard that is none of OF is refused."""
    plan_to("apart")
    result = geodl_here("shard", "apart", "--", n, of)
    assert result.returncode == 2
    assert str(n) in result.stderr or str(of) in result.stderr
    assert not (scene / "apart" / "parts").exists()


TRIANGLE = '{"type":"Polygon","coordinates":[[[12.33,47.8],[12.35,47.8],[12.35,47.82],[12.33,47.8]]]}'
EDITS = {
    "threshold": lambda plan: plan["job"].update(threshold=0.9),
    "job id": lambda plan: plan["plan"].update(job_id="0" * 64),
    "input": lambda plan: plan["job"]["inputs"][0].update(content="size:1,mtime_ns:1"),
    "version": lambda plan: plan.update(format="geodl-plan-99"),
    "more": lambda plan: plan.update(surprise=1),
    "less": lambda plan: plan.pop("collection"),
    "halo": lambda plan: plan["plan"].update(halo_px=0),
    "core": lambda plan: plan["plan"].update(core_px=[81, 81]),
    "pad": lambda plan: plan["plan"].update(pad="constant"),
    "grid": lambda plan: plan["plan"]["grid"].update(transform=[10.0, 0.0, 0.0, 0.0, -10.0, 0.0]),
    "area": lambda plan: plan["plan"].update(area=TRIANGLE),
    "asset": lambda plan: plan["plan"]["sources"][0].update(index=1),
    "model": lambda plan: plan["job"].update(model_digest="0" * 64),
    "model file": lambda plan: plan.update(model_file="../net.emd"),
}


@pytest.mark.parametrize("name", EDITS)
def test_plans_that_were_changed(scene, name):
    """A plan that does not say what was planned is refused by each stage; nothing is computed."""
    plan_to("apart")
    path = scene / "apart" / "plan.json"
    document = json.loads(path.read_text())
    EDITS[name](document)
    path.write_text(json.dumps(document))
    message = failed(2, "shard", "apart", 0, SHARDS, "--quiet")
    assert "apart" in message
    assert not (scene / "apart" / "parts").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "geodl-plan-1"}', b"\xff\xfe\x00", b"{}" * 9])
def test_files_that_are_no_plans(scene, content):
    """Other files are refused as no plan, a missing one as missing."""
    (scene / "plan.json").write_bytes(content)
    for words in (("shard", "plan.json", 0, 1), ("merge", "plan.json"), ("register", "plan.json")):
        assert "plan.json: expected a plan" in failed(2, *words)
    assert "nowhere" in failed(2, "merge", "nowhere/plan.json")


@pytest.mark.parametrize("asset", ["image", "scl"])
@pytest.mark.parametrize("change", ["time", "size", "gone"])
def test_sources_that_changed(scene, asset, change):
    """Where a file changed since the plan, shards are refused with the asset's name, and nothing is written."""
    plan_to("apart", "--mask", "scl=3")
    shards("apart", [0])
    before = {path: path.read_bytes() for path in (scene / "apart").rglob("*") if path.is_file()}
    path = scene / {"image": "scene.tif", "scl": "scl.tif"}[asset]
    if change == "time":
        facts = path.stat()
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000_000))
    elif change == "size":
        facts = path.stat()
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    else:
        path.unlink()
    assert f"asset {asset}" in failed(2, "shard", "apart", 1, SHARDS, "--quiet")
    assert {path: path.read_bytes() for path in (scene / "apart").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("change", ["exchanged", "damaged", "gone"])
def test_models_that_changed(scene, change):
    """Where the model beside the plan is another, shards are refused and say so."""
    plan_to("apart")
    model = scene / "apart" / "model.dlpk"
    if change == "exchanged":
        conv_network(scene / "net.onnx", seed=6)
        plan_to("other")
        shutil.copy(scene / "other" / "model.dlpk", model)
    elif change == "damaged":
        model.write_bytes(model.read_bytes()[:-100])
    else:
        model.unlink()
    for words in (("shard", "apart", 0, SHARDS), ("merge", "apart")):
        assert "model.dlpk" in failed(2, *words)
    assert not (scene / "apart" / "parts").exists()


def tree(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.parent.rglob("*") if "pytest" not in path.name}


@pytest.mark.parametrize("options", [(), ("--to", "there"), ("--json",), ("--mask", "scl=3", "-o", "results")])
def test_dry_runs_write_nothing(scene, options):
    """--dry-run leaves every folder as it was."""
    before = tree(scene)
    text = done("plan", *JOB, "--dry-run", *options)
    assert tree(scene) == before
    if "--json" in options:
        assert json.loads(text)["plan"] is None
    else:
        for word in ("tiles", "memory", "time", "output", "shards", "skipped"):
            assert f"\n{word} " in text
        assert "\nplan " not in text


def test_json_is_one_object(scene):
    """--json prints one JSON object and nothing else, to either stream."""
    result = geodl_here("plan", *JOB, "--json", "--to", "apart", "--shards", SHARDS)
    assert result.returncode == 0
    document = json.loads(result.stdout)
    assert result.stderr == ""
    assert Path(document["plan"]).is_file()
    assert document["shards"] == SHARDS
    assert document["live"] <= document["tiles"]
    assert document["seconds"] is None


def test_estimates(scene):
    """--calibrate tells a time; without it and without an earlier run none is known, and after a run that one's is."""
    first = json.loads(done("plan", *JOB, "--dry-run", "--json"))
    assert first["seconds"] is None
    assert "not known" in done("plan", *JOB, "--dry-run")
    calibrated = json.loads(done("plan", *JOB, "--dry-run", "--json", "--calibrate"))
    assert 0 < calibrated["seconds"] < 60
    start = time.monotonic()
    done("run", *JOB)
    taken = time.monotonic() - start
    later = json.loads(done("plan", *JOB, "--dry-run", "--json"))
    assert "last run" in later["rate_origin"]
    assert 0 < later["seconds"] < 3 * taken
    assert "about" in next(line for line in done("plan", *JOB, "--dry-run").splitlines() if line.startswith("time"))
    assert json.loads(done("plan", *JOB, "--dry-run", "--json", "--arg", "tile_size=64"))["seconds"] is None


def test_estimates_of_nothing(scene):
    """Where nothing is left to do, a plan can be made, calibrated and run all the same."""
    write_raster(scene / "scl.tif", np.full((1, *SHAPE), 3, "uint8"))
    document = plan_to("apart", "--mask", "scl=3", "--calibrate")
    assert (document["live"], document["shards"]) == (0, 1)
    done("plan", *JOB, "--mask", "scl=3", "--dry-run")
    done("shard", "apart", 0, 1, "--quiet")
    done("merge", "apart")
    with rasterio.open(scene / "apart" / "classification.tif") as dataset:
        assert (dataset.read(1) == 255).all()


@pytest.fixture(scope="module")
def server():
    """A server with the bucket `bucket`; its endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    assert requests.put(f"http://{host}:{port}/bucket", timeout=10).ok
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def bucket(server, scene, monkeypatch):
    """The URL of an empty folder in a bucket, with credentials in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    object_stores._store.cache_clear()
    yield f"s3://bucket/jobs/{scene.name}"
    object_stores._store.cache_clear()


def stored(bucket):
    """Return the data files below a URL."""
    names = [name for name in list_names(bucket) if not name.endswith((".json", ".dlpk"))]
    return {name: read_object(f"{bucket}/{name}", MOST_BYTES) for name in names}


@pytest.mark.parametrize("name", ASKED)
def test_object_store(bucket, scene, name):
    """Parts and results are objects beside the plan, equal to those of one run, and the Item's hrefs are their URLs."""
    document, expected = whole(*ASKED[name])
    planned = plan_to(bucket, *ASKED[name])
    plan = f"{bucket}/plan.json"
    assert planned["plan"] == plan
    for needless in ("scene.json", "net.emd", "net.onnx"):
        (scene / needless).unlink()
    before = set(scene.rglob("*"))
    assert all(text.startswith("computed") for text in shards(plan, (2, 4, 0, 3, 1)))
    assert len(list_names(f"{bucket}/parts")) == SHARDS
    assert all(text.startswith("present") for text in shards(plan))
    assert set(scene.rglob("*")) == before
    done("merge", plan)
    assert list_names(f"{bucket}/parts") == []
    assert stored(bucket) == expected
    item = json.loads(done("register", plan, "--catalog", "remote.db", "--json"))
    assert item["id"] == document["id"]
    assert {asset["href"].rpartition("/")[0] for asset in item["assets"].values()} == {bucket}
    assert f"{item['id']}.json" in list_names(bucket)
    (link,) = (link["href"] for link in item["links"] if link["rel"] == "self")
    assert link == f"{bucket}/{item['id']}.json"
    found = json.loads(done("search", "--catalog", "remote.db", "--json"))["features"]
    assert found[0]["assets"] == item["assets"]
    assert json.loads(read_object(link, MOST_BYTES))["id"] == item["id"]


def test_object_store_is_run_again(bucket, scene):
    """A result that lies in a store is computed again from its Item of the catalog, to the same bytes."""
    plan_to(bucket)
    shards(bucket)
    done("merge", bucket)
    item = json.loads(done("register", bucket, "--catalog", "remote.db", "--json"))
    text = done("rerun", f"catalog:{item['collection']}/{item['id']}", "--catalog", "remote.db")
    assert text.splitlines() == ["job      the same", *(f"equal    {key}" for key in item["assets"])]


def test_object_store_as_processes(bucket, scene):
    """Processes that share nothing but the store and the pixels run its shards; a killed one leaves nothing there."""
    _, expected = whole()
    plan_to(bucket)
    shards(bucket, range(1, SHARDS))
    result = geodl("shard", bucket, 0, SHARDS, cwd=scene)
    assert result.returncode == 0, result.stderr
    assert "computed part 0" in result.stdout
    result = geodl("merge", bucket, cwd=scene)
    assert result.returncode == 0, result.stderr
    assert stored(bucket) == expected


def test_object_store_damage(bucket, scene):
    """Missing and damaged parts in a store are named, a missing plan or bucket said, and no part is lost."""
    plan_to(bucket)
    assert "5 of 5 parts" in failed(3, "merge", bucket)
    assert "geodl merge" in failed(2, "register", bucket, "--catalog", "cat.db")
    shards(bucket)
    part = f"{bucket}/parts/00003-of-00005.part"
    content = read_object(part, MOST_BYTES)
    write_object(part, content[:-30])
    assert ": 3\n" in failed(3, "merge", bucket)
    delete(part)
    assert ": 3\n" in failed(3, "merge", bucket)
    assert len(list_names(f"{bucket}/parts")) == SHARDS - 1
    assert not exists(f"{bucket}/classification.tif")
    shards(bucket, [3])
    done("merge", bucket, "--keep-parts")
    assert len(list_names(f"{bucket}/parts")) == SHARDS
    assert "plan.json" in failed(2, "merge", "s3://bucket/nothing/here")
    assert "nobucket" in failed(2, "plan", *JOB, "--to", "s3://nobucket/x")


def test_a_store_that_gives_no_leave(bucket, scene, monkeypatch):
    """Each stage ends with a code of its own and names place and permission: the job is not at fault."""
    plan_to(bucket)
    shards(bucket)
    with website(lambda handler: send(handler, 403)) as site:
        object_stores._store.cache_clear()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{site.port}")
        for words in (("shard", f"{bucket}/plan.json", 0, SHARDS), ("merge", bucket), ("register", bucket)):
            said = failed(77, *words)
            assert f"error: {bucket}/plan.json: access is refused: expected leave to read it (s3:GetObject" in said
        assert {path.partition("?")[0] for path in site.paths} == {f"/bucket/jobs/{scene.name}/plan.json"}
        assert len(site.paths) == 3


def test_models_of_a_store_are_kept(bucket, scene, monkeypatch, tmp_path):
    """Shards of one machine fetch a model once; one that was spoilt is fetched again, and the result is the same."""
    _, expected = whole()
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "kept"))
    plan_to(bucket)
    shards(bucket, [0])
    (kept,) = (tmp_path / "kept" / "models").iterdir()
    content = kept.read_bytes()
    assert kept.name == f"{hashlib.sha256(content).hexdigest()}.dlpk"
    kept.write_bytes(content[:-1])
    shards(bucket, [1])
    assert kept.read_bytes() == content
    delete(f"{bucket}/model.dlpk")
    shards(bucket, range(2, SHARDS))
    done("merge", bucket)
    assert stored(bucket) == expected


def test_shards_without_a_cache(bucket, scene):
    """Where neither home nor cache can be written, as in a container with a read-only root, a shard does without."""
    plan_to(bucket)
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "GEODL_CACHE", "GEODL_OUT"), "/dev/null/nowhere")
    result = geodl("shard", bucket, 0, SHARDS, cwd=scene, **nowhere)
    assert result.returncode == 0, result.stderr
    assert "computed part 0" in result.stdout


def test_the_provider_of_the_environment(scene, monkeypatch):
    """GEODL_PROVIDER says what networks run on, unless the command does; where it is not there the shard says so."""
    plan = plan_to("job")["plan"]
    monkeypatch.setenv("GEODL_PROVIDER", "cuda")
    assert "provider cuda: onnxruntime offers only" in failed(2, "shard", plan, 0, SHARDS)
    shards(plan, [0], "--provider", "cpu")
    monkeypatch.setenv("GEODL_PROVIDER", "gpu")
    assert "GEODL_PROVIDER: expected one of auto, cpu, cuda" in failed(2, "shard", plan, 1, SHARDS)

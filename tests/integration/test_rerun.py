"""A result computed again from its Item alone, and Items that are no results or want to be more."""

import json
import shlex
import tempfile
from pathlib import Path

import numpy as np
import pytest

from commands import geodl_here
from items import write_item
from networks import conv_network, mask_network, write_emd
from scenes import smooth, write_raster

SHAPE = (200, 290)
JOB = ("scene.json", "-m", "net.emd", "--band", "0=image:1", "--band", "1=image:2")
AREA = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": 'it\'s "quoted"; $HOME `x`'},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[12.33, 47.81], [12.36, 47.808], [12.355, 47.822], [12.33, 47.81]]],
            },
        }
    ],
}


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A folder with a scene, a mask and a model, where commands run."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path.with_name(f"{tmp_path.name}-cache")))
    for name in ("GEODL_OUT", "GEODL_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    pixels = np.stack([smooth(SHAPE, 1), smooth(SHAPE, 2)])
    pixels[:, :50, :60] = 0
    classes = np.kron(np.random.default_rng(1).integers(0, 9, (7, 10)), np.ones((32, 32))).astype("uint8")
    assets = {
        "image": {"href": write_raster(folder / "scene.tif", pixels, nodata=0)},
        "scl": {"href": write_raster(folder / "scl.tif", classes[None, : SHAPE[0], : SHAPE[1]])},
    }
    write_item(folder, assets)
    conv_network(folder / "net.onnx")
    write_emd(folder)
    (folder / "area.geojson").write_text(json.dumps(AREA))
    return folder


def computed(*options, job=JOB):
    """Run a model and return the path of the output Item."""
    result = geodl_here("run", *job, "--json", *options)
    assert result.returncode == 0, result.stderr
    return Path(json.loads(result.stdout)["item"])


def rerun(*words):
    return geodl_here("rerun", *words)


def files(folder):
    """Return what lies in a folder and how old it is."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def assert_equal(item, *options):
    result = rerun(item, *options)
    assert result.returncode == 0, (result.stdout, result.stderr)
    lines = result.stdout.splitlines()
    assert lines[0] == "job      the same"
    assets = json.loads(Path(item).read_text())["assets"]
    assert lines[1:] == [f"equal    {key}" for key in assets]


CASES = {
    "plain": (),
    "bands": ("--compress", "lzw", "--pad", "constant", "--radiometry", "raw"),
    "area": ("--aoi", "area.geojson"),
    "box": ("--aoi", "12.34,47.81,12.35,47.82"),
    "mask": ("--mask", "scl=3,8", "--mask", "image=7"),
    "scores": ("--arg", "return_probability_raster=uint8", "--arg", "tile_size=96"),
    "augmented": ("--arg", "test_time_augmentation=true;merge_policy=min;padding=24"),
    "memory": ("--tile-memory", "24M"),
    "collection": ("--collection", "../a collection; $(touch gone)"),
    "all": (
        *("--aoi", "area.geojson", "--mask", "scl=3,8", "--collection", "-x"),
        *("--arg", "return_probability_raster=float32;test_time_augmentation=true;tile_size=64;batch_size=2"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_same_again(scene, monkeypatch, name):
    """A result with any arguments is computed again from its Item, from another folder, to the same bytes."""
    item = computed(*CASES[name])
    before = files(scene)
    elsewhere = scene.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert_equal(item)
    assert files(scene) == before
    assert not list(elsewhere.iterdir())


def test_same_again_of_a_mask(scene):
    """A threshold, and a background left out, are part of what is computed again."""
    mask_network(scene / "mask.onnx")
    write_emd(scene, "mask.onnx", "mask.emd", Classes=[{"Value": 1, "Name": "yes"}])
    job = ("scene.json", "-m", "mask.emd", *JOB[3:])
    assert_equal(computed("--arg", "threshold=0.3", job=job))
    classes = [{"Value": value, "Name": f"c{value}"} for value in (0, 4, 9)]
    write_emd(scene, name="zero.emd", Classes=classes)
    job = ("scene.json", "-m", "zero.emd", *JOB[3:])
    assert_equal(computed("--arg", "predict_background=false", job=job))


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("asked", ["true", "false"])
def test_same_again_of_an_augmented_model(scene, default, asked):
    """What was asked of augmentation is asked again, whatever the definition's default is."""
    write_emd(scene, test_time_augmentation=default)
    assert_equal(computed("--arg", f"test_time_augmentation={asked}"))


def test_same_again_of_text(scene, monkeypatch):
    """A model given as text, and an Item of a catalog, are found again."""
    text = json.dumps({**json.loads((scene / "net.emd").read_text()), "ModelFile": str(scene / "net.onnx")})
    item = json.loads(computed(job=("scene.json", "-m", text, *JOB[3:])).read_text())
    result = rerun(f"catalog:{item['collection']}/{item['id']}")
    assert result.returncode == 0, result.stderr


def test_moved_model(scene):
    """A model that lies elsewhere now is named by --model; without that its absence is said."""
    item = computed()
    moved = scene / "moved"
    moved.mkdir()
    for name in ("net.emd", "net.onnx"):
        (scene / name).rename(moved / name)
    result = rerun(item)
    assert result.returncode == 2
    assert "net.emd" in result.stderr
    assert_equal(item, "--model", "moved/net.emd")


def test_moved_source(scene):
    """A scene whose Item lies elsewhere now is named by --item; of another scene it is another job."""
    item = computed()
    moved = scene / "moved"
    moved.mkdir()
    for name in ("scene.json", "scene.tif", "scl.tif"):
        (scene / name).rename(moved / name)
    document = json.loads((moved / "scene.json").read_text())
    for asset in document["assets"].values():
        asset["href"] = f"./{Path(asset['href']).name}"
    (moved / "scene.json").write_text(json.dumps(document))
    gone = rerun(item)
    assert gone.returncode == 2
    assert "scene.json" in gone.stderr
    assert_equal(item, "--item", "moved/scene.json")
    (moved / "other.json").write_text(json.dumps({**document, "id": "other"}))
    assert " is now " in rerun(item, "--item", "moved/other.json").stdout
    missing = rerun(item, "--item", "nowhere.json")
    assert (missing.returncode, "nowhere.json" in missing.stderr) == (2, True)


def test_kept_results(scene):
    """--out keeps what is computed."""
    item = computed("--out", "first")
    assert_equal(item, "--out", "again")
    (again,) = (scene / "again").rglob("classification.tif")
    assert again.read_bytes() == (item.parent / "classification.tif").read_bytes()


def test_kept_where_it_was(scene):
    """--out into the folder that the result came from is refused: the result would be compared with itself."""
    item = computed("--out", "first")
    cog = item.parent / "classification.tif"
    content = cog.read_bytes()
    cog.write_bytes(content[:-4] + bytes(byte ^ 255 for byte in content[-4:]))
    damaged = cog.read_bytes()
    done = geodl_here("rerun", item, "--out", "first")
    assert done.returncode == 2
    assert "holds the result" in done.stderr
    assert cog.read_bytes() == damaged


def change_checksum(item, key, value="1220" + "0" * 64):
    document = json.loads(item.read_text())
    document["assets"][key]["file:checksum"] = value
    item.write_text(json.dumps(document))


@pytest.mark.parametrize("key", ["classification", "preview", "probabilities"])
def test_other_bytes(scene, key):
    """Where a checksum is another the asset is named, and the exit code is that of damaged data."""
    item = computed("--arg", "return_probability_raster=uint8")
    change_checksum(item, key)
    result = rerun(item)
    assert result.returncode == 3
    assert f"differs  {key}" in result.stdout
    assert result.stdout.count("differs") == 1
    assert f"1 of 5 assets differ: {key}" in result.stderr
    assert "job      the same" in result.stdout
    as_json = rerun(item, "--json")
    assert as_json.returncode == 3
    document = json.loads(as_json.stdout)
    assert document["job_equal"] is True
    assert [name for name, facts in document["assets"].items() if not facts["equal"]] == [key]


def test_assets_that_were_added(scene):
    """An asset that the run does not make, or without a checksum, counts as different."""
    item = computed()
    document = json.loads(item.read_text())
    document["assets"]["more"] = {"href": "./more.tif", "file:checksum": "1220" + "0" * 64}
    del document["assets"]["preview"]["file:checksum"]
    item.write_text(json.dumps(document))
    result = rerun(item)
    assert result.returncode == 3
    assert "2 of 5 assets differ: preview, more" in result.stderr


def test_lost_asset(scene):
    """An asset that the run makes and the Item lacks counts as different."""
    item = computed("--arg", "return_probability_raster=uint8")
    document = json.loads(item.read_text())
    del document["assets"]["probabilities"]
    item.write_text(json.dumps(document))
    assert rerun(item).returncode == 3


@pytest.mark.parametrize("what", ["source", "mask", "model"])
def test_other_job(scene, what):
    """Where source, mask or model changed since, it is said that it is another job."""
    item = computed("--mask", "scl=3")
    if what == "source":
        write_raster(scene / "scene.tif", np.stack([smooth(SHAPE, 3), smooth(SHAPE, 4)]), nodata=0)
    elif what == "mask":
        write_raster(scene / "scl.tif", np.zeros((1, *SHAPE), "uint8"))
    else:
        conv_network(scene / "net.onnx", seed=6)
    result = rerun(item)
    assert result.returncode == 3
    assert " is now " in result.stdout
    assert "another job" in result.stderr
    assert "differs  classification" in result.stdout


def test_touched_source(scene):
    """A source that was written anew with the same pixels is another job of the same bytes: the code is 0."""
    item = computed()
    (scene / "scene.tif").touch()
    result = rerun(item)
    assert result.returncode == 0
    assert " is now " in result.stdout


@pytest.mark.parametrize("kind", ["source", "text", "missing", "collection"])
def test_items_that_are_no_results(scene, kind):
    """An Item that geodl did not make, another file or none is refused in a line."""
    path = {"source": "scene.json", "text": "net.emd", "missing": "nowhere.json", "collection": "c.json"}[kind]
    if kind == "collection":
        item = computed()
        path = str(item.parent.parent / "collection.json")
    result = rerun(path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "error: unexpected" not in result.stderr
    if kind == "source":
        assert "geodl run" in result.stderr


REFUSED = {
    "shell": "touch {place}/gone",
    "shell after": "geodl run {item} --model {model} {bands}; touch {place}/gone",
    "substitution": "geodl run $(touch {place}/gone) --model {model}",
    "another command": "geodl model remove net --force",
    "search": "geodl search",
    "init": "geodl model init {model} -o {place}/gone",
    "another program": "{place}/geodl run {item} --model {model} {bands}",
    "environment": "GEODL_OUT={place}/gone geodl run {item} --model {model} {bands}",
    "unclosed": "geodl run '{item} --model {model}",
    "empty": "",
    "no text": None,
    "list": ["geodl", "run"],
    "help": "geodl run --help",
    "short help": "geodl run {item} --model {model} {bands} -h",
    "help of a model": "geodl run {item} --model {model} {bands} --help-model {model}",
    "unknown option": "geodl run {item} --model {model} {bands} --exec touch",
    "no model": "geodl run {item}",
    "no Item": "geodl run --model {model}",
    "bad value": "geodl run {item} --model {model} {bands} --shards 0",
}


def saying(scene, item, text):
    """Write an Item anew that names another command."""
    document = json.loads(item.read_text())
    if isinstance(text, str):
        bands = "--band 0=image:1 --band 1=image:2"
        words = {"item": scene / "scene.json", "model": scene / "net.emd", "place": scene / "place"}
        text = text.format(bands=bands, **{name: shlex.quote(str(path)) for name, path in words.items()})
    document["properties"]["geodl:rerun"] = text
    item.write_text(json.dumps(document))
    return item


@pytest.mark.parametrize("name", REFUSED)
def test_commands_that_are_refused(scene, name):
    """Whatever an Item says besides one `geodl run` of an Item and a model is not run, and never counts as equal."""
    item = saying(scene, write_item(scene, {"image": {"href": scene / "scene.tif"}}, "result"), REFUSED[name])
    (scene / "place").mkdir()
    before = files(scene.parent)
    result = rerun(item)
    assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
    assert "equal" not in result.stdout
    assert "error: unexpected" not in result.stderr
    assert files(scene.parent) == before


WRITING = {
    "out": "--out {place}/out",
    "catalog": "--catalog {place}/catalog.db",
    "collection": "--collection ../../../../{place}/gone",
    "kept": "--keep-parts --force --json",
    "shell": '--collection "$(touch gone); touch gone | touch gone & "',
}


@pytest.mark.parametrize("name", WRITING)
def test_commands_that_would_write_elsewhere(scene, name):
    """What an Item says of where to write is not followed: nothing but a temporary folder is written."""
    item = saying(scene, computed(), "geodl run {item} --model {model} {bands} " + WRITING[name])
    (scene / "place").mkdir()
    before = files(scene.parent)
    result = rerun(item)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("job      the same")
    assert files(scene.parent) == before


def test_temporary_folder_goes_away(scene, monkeypatch):
    """Nothing is left of what was computed, also where it failed."""
    place = scene.parent / "temporary"
    place.mkdir()
    item = computed()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert rerun(item).returncode == 0
    assert not list(place.iterdir())
    (scene / "scene.tif").unlink()
    assert rerun(item).returncode == 2
    assert not list(place.iterdir())

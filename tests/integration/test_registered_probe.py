"""What a network told at registration serves for loading it: nothing is run again, and nothing comes out otherwise."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import registered
from geodl_core.catalog.model_files import PROBE_ASSET, load_registered
from geodl_core.catalog.models import add_model, find_model, list_models, remove_model
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.model.object_classifier import ObjectClassifier
from geodl_core.engine.load_any import load_any
from geodl_core.engine.load_model import load_model
from geodl_core.engine.plan_files import PLAN_NAME
from geodl_core.errors import ModelError
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from items import write_item
from networks import write_emd
from scenes import write_raster
from schemas import require_valid

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HEAVY = ("contourpy", "geopandas", "onnxruntime", "pandas", "pyarrow", "pyogrio", "scipy")
PLAN = """
import json, sys
from pathlib import Path
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None  # importing it fails, as where it is not installed
from geodl_core.catalog.model_files import load_registered
from geodl_core.domain.plan.job import Arguments
from geodl_core.engine.load_model import load_model
from geodl_core.engine.origin import origin_of
from geodl_core.engine.plan_files import RunWishes, write_plan
from geodl_core.engine.plan_mosaic import plan_items
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
scene = read_item(sys.argv[2])
for kind, path, where in json.loads(sys.stdin.read()):
    package = load_package(path) if path.endswith(".emd") else load_registered(read_item(path))
    model = load_model(package)
    more = {"source_range": (0.0, 255.0)} if package.emd.DataRange else {}
    bands = {str(band): f"image:{number + 1}" for number, band in enumerate(model.bands)}
    arguments = Arguments(bands=bands, **more)
    planned = plan_items([scene], model, arguments)
    origin = origin_of([scene], package, arguments, "results")
    write_plan(where, planned, package, origin, RunWishes())
"""


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model and its registry."""
    folder = tmp_path_factory.mktemp("registered")
    paths = registered.write_every_model(folder / "sources")
    items = {}
    with SqliteCatalog(folder / "catalog.db") as catalog:
        for kind, path in paths.items():
            items[kind] = add_model(catalog, folder / "models", load_package(str(path)), NOW)
    (folder / "items.json").write_text(json.dumps(items))
    (folder / "paths.json").write_text(json.dumps({kind: str(path) for kind, path in paths.items()}))
    return folder


@pytest.fixture(scope="module")
def items(works: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((works / "items.json").read_text())
    return found


@pytest.fixture(scope="module")
def paths(works: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((works / "paths.json").read_text())
    return found


def test_every_model_means_the_same(items: dict[str, dict[str, Any]], paths: dict[str, str]) -> None:
    """A model of any kind that is loaded from the registry is the one that its own files make."""
    assert items.keys() == paths.keys()
    for kind, item in items.items():
        assert load_any(load_registered(item)) == load_any(load_package(paths[kind])), kind


def test_what_has_to_be_run_is_kept(items: dict[str, dict[str, Any]]) -> None:
    """Detectors keep their decoder, networks that cannot be followed how far they reach, others nothing at all."""
    told = {kind: load_registered(item).probed for kind, item in items.items()}
    by_decoder = {kind for kind, probed in told.items() if probed and probed.decoder}
    by_reach = {kind for kind, probed in told.items() if probed and probed.reach}
    assert by_decoder == {*registered.DETECTORS, "harbour"}
    assert by_reach == {"scores, unfollowed"}
    assert {kind for kind, item in items.items() if PROBE_ASSET in item["assets"]} == by_decoder | by_reach


def plan_all(models: dict[str, str], scene: Path, target: Path, blocked: tuple[str, ...] = ()) -> dict[str, Any]:
    """Plan a scene with models in an interpreter of its own; return the plans."""
    places = {kind: target / str(number) for number, kind in enumerate(models)}
    words = json.dumps([(kind, path, str(places[kind])) for kind, path in models.items()])
    command = [sys.executable, "-c", PLAN, json.dumps(blocked), str(scene)]
    result = subprocess.run(command, input=words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return {kind: json.loads((place / PLAN_NAME).read_text()) for kind, place in places.items()}


def test_planning_needs_no_runtime(
    tmp_path: Path, works: Path, items: dict[str, dict[str, Any]], paths: dict[str, str]
) -> None:
    """Where onnxruntime, scipy and pyarrow are not installed a registered model makes the plan it makes elsewhere."""
    values = np.random.default_rng(2).integers(0, 255, (6, 300, 420), "uint8")
    scene = write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "scene.tif", values)}})
    kinds = [kind for kind in items if kind not in registered.ROWS]
    places = {kind: next(link["href"] for link in items[kind]["links"] if link["rel"] == "self") for kind in kinds}
    light = plan_all(places, scene, tmp_path / "light", HEAVY)
    usual = plan_all({kind: paths[kind] for kind in kinds}, scene, tmp_path / "usual")
    # What running the network told of its reach is kept with a registered model alone, and goes along with its plans.
    own = {"source", "model_word", "model_item_href", "emd_text", "model_sha256", "model_name", "reach"}
    for kind in kinds:
        assert light[kind]["plan"]["job_id"] == usual[kind]["plan"]["job_id"], kind
        for key in light[kind].keys() - own:
            assert light[kind][key] == usual[kind][key], (kind, key)


def test_a_model_without_the_file_is_run(items: dict[str, dict[str, Any]]) -> None:
    """A model that was registered before there was such a file loads as ever."""
    for kind in ("yolo", "scores, unfollowed"):
        assets = {key: asset for key, asset in items[kind]["assets"].items() if key != PROBE_ASSET}
        before = load_registered({**items[kind], "assets": assets})
        assert before.probed is None
        assert load_model(before) == load_model(load_registered(items[kind]))


def test_adding_again_brings_the_file(tmp_path: Path, paths: dict[str, str]) -> None:
    """An old registration gets the file when the model is added again, and once only; order and files stay."""
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        package = load_package(paths["scores, unfollowed"])
        new = add_model(catalog, tmp_path / "models", package, NOW)
        old = {**new, "assets": {key: asset for key, asset in new["assets"].items() if key != PROBE_ASSET}}
        catalog.put_items([old])
        Path(new["assets"][PROBE_ASSET]["href"]).unlink()
        newest = add_model(catalog, tmp_path / "models", load_package(paths["scores"]), NOW + timedelta(days=1))
        again = add_model(catalog, tmp_path / "models", package, NOW + timedelta(days=2))
        assert again["assets"] == new["assets"]
        assert again["properties"]["created"] == new["properties"]["created"]
        assert again["properties"]["updated"] == "2026-03-03T00:00:00.000000Z"
        assert load_registered(again).probed is not None
        assert find_model(catalog, again["id"].rpartition("-")[0])["id"] == newest["id"]
        assert [item["id"] for item in list_models(catalog)] == [newest["id"], new["id"]]
        beside = next(link["href"] for link in again["links"] if link["rel"] == "self")
        assert load_registered(read_item(beside)).probed == load_registered(again).probed
        writes = catalog.outbox(0, 100)
        assert add_model(catalog, tmp_path / "models", package, NOW + timedelta(days=3)) == again
        assert catalog.outbox(0, 100) == writes
        remove_model(catalog, tmp_path / "models", again, NOW)
        assert not Path(beside).parent.exists()


def test_a_definition_spaced_otherwise(tmp_path: Path, paths: dict[str, str]) -> None:
    """The same definition in other white space is the same model, and leaves the registered files as they are."""
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        package = load_package(paths["yolo"])
        item = add_model(catalog, tmp_path / "models", package, NOW)
        text = json.dumps(json.loads(package.emd_text), indent=7).encode()
        assert add_model(catalog, tmp_path / "models", replace(package, emd_text=text), NOW) == item
        assert load_registered(item).emd_text == package.emd_text
        assert load_registered(item).probed is not None


def changed(item: dict[str, Any], folder: Path, change: Any) -> dict[str, Any]:
    """Return an Item with another file in place of what its network told."""
    asset = item["assets"][PROBE_ASSET]
    document = json.loads(Path(asset["href"]).read_text())
    content = change(document)
    path = folder / "probe.json"
    path.write_text(content if isinstance(content, str) else json.dumps(document))
    bare = {key: value for key, value in asset.items() if not key.startswith("file:")}
    return {**item, "assets": {**item["assets"], PROBE_ASSET: {**bare, "href": str(path)}}}


LIES = {
    "no JSON": (lambda said: "{", "no JSON"),
    "another thing": (lambda said: "[1]", "geodl-probe-1"),
    "too large": (lambda said: f'{{"format": "{"x" * (2 << 20)}"}}', "expected what a network told"),
    "a strange key": (lambda said: said.update(code="import os"), "code"),
    "another form": (lambda said: said["decoder"].update(form="magic"), "decoder.form"),
    "another network": (lambda said: said["model"].update(network="0" * 64), "by another model"),
    "another definition": (lambda said: said["model"].update(definition="0" * 64), "by another model"),
    "outputs that are not there": (lambda said: said["decoder"].update(tensors=["nothing"]), "expected outputs"),
    "no outputs": (lambda said: said["decoder"].update(tensors=[]), "expected outputs"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_no_network_told(tmp_path: Path, items: dict[str, dict[str, Any]], lie: str) -> None:
    """A file from elsewhere that is damaged, malformed or of another model is refused, and says by what."""
    change, said = LIES[lie]
    with pytest.raises(ModelError, match=said) as refused:
        load_registered(changed(items["yolo"], tmp_path, change))
    assert PROBE_ASSET in refused.value.message


def test_a_reach_that_no_network_has(tmp_path: Path, items: dict[str, dict[str, Any]]) -> None:
    """A negative radius is refused."""
    with pytest.raises(ModelError, match="radius"):
        load_registered(changed(items["scores, unfollowed"], tmp_path, lambda said: said["reach"].update(radius_px=-3)))


def test_a_file_of_a_later_version(tmp_path: Path, items: dict[str, dict[str, Any]]) -> None:
    """A file of a later version of the format is left alone, and the network is run."""
    package = load_registered(changed(items["yolo"], tmp_path, lambda said: said.update(format="geodl-probe-2", new=1)))
    assert package.probed is None
    assert load_model(package) == load_model(load_registered(items["yolo"]))


def test_a_damaged_file(tmp_path: Path, works: Path, items: dict[str, dict[str, Any]]) -> None:
    """A file that is not the one that was registered is refused by its checksum."""
    asset = items["ssd"]["assets"][PROBE_ASSET]
    path = tmp_path / "probe.json"
    path.write_bytes(Path(asset["href"]).read_bytes() + b" ")
    with pytest.raises(ModelError, match=f"asset {PROBE_ASSET}.*is not the file that was registered"):
        load_registered(
            {**items["ssd"], "assets": {**items["ssd"]["assets"], PROBE_ASSET: {**asset, "href": str(path)}}}
        )


def test_a_network_that_does_not_run_is_not_registered(tmp_path: Path) -> None:
    """What would fail when the model is first loaded fails when it is added."""
    registered.unfollowed_network(tmp_path / "net.onnx")
    content = (tmp_path / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(content.replace(b"Gelu", b"Gold"))
    package = load_package(str(write_emd(tmp_path, Padding=None)))
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        with pytest.raises(ModelError, match="onnxruntime"):
            add_model(catalog, tmp_path / "models", package, NOW)
        assert list_models(catalog) == []


@pytest.mark.shared
def test_items_are_valid(items: dict[str, dict[str, Any]], shared: Path) -> None:
    """Items with the file among their assets are valid."""
    for kind in ("yolo", "scores, unfollowed"):
        assert PROBE_ASSET in items[kind]["assets"]
        require_valid(items[kind], shared)


def test_rows_are_kept_apart(items: dict[str, dict[str, Any]]) -> None:
    """A classifier of given objects needs no run, and is none of pixels."""
    assert isinstance(load_any(load_registered(items["row"])), ObjectClassifier)

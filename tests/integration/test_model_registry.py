"""The model registry: what is put in comes out, versions know one another, nothing happens twice."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pystac
import pytest

from geodl_core.catalog.model_files import export_model, load_registered, read_model_files
from geodl_core.catalog.models import add_model, count_results, find_model, list_models, remove_model
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.mlm.write import MODELS
from geodl_core.domain.model.model import make_model
from geodl_core.errors import ModelError
from geodl_core.io.package.package import ModelPackage, load_package
from networks import CLASSES, conv_network, run_whole, write_emd
from schemas import require_valid

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqliteCatalog]:
    with SqliteCatalog(tmp_path / "catalog.db") as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "models"


def package(folder: Path, seed: int = 5, **keys: Any) -> ModelPackage:
    folder.mkdir(exist_ok=True)
    conv_network(folder / "net.onnx", seed=seed)
    return load_package(str(write_emd(folder, **keys)))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rels(item: dict[str, Any]) -> dict[str, str]:
    return {link["rel"]: link["title"] for link in item["links"] if link["rel"].endswith("-version")}


def digest(loaded: ModelPackage) -> str:
    before = loaded.preprocessing.graph if loaded.preprocessing else None
    return make_model(loaded.emd, loaded.file.graph, loaded.name, preprocessing=before).digest


def test_what_is_added_is_loaded(tmp_path: Path, catalog: SqliteCatalog, store: Path) -> None:
    """A registered model is the one that was added: same content hash, same bytes, from the registry's own files."""
    source = package(tmp_path / "source", ModelName="My Net", ModelFile=".\\net.onnx")
    item = add_model(catalog, store, source, NOW)
    shutil.rmtree(tmp_path / "source")
    loaded = load_registered(item)
    assert digest(loaded) == digest(source) == item["properties"]["geodl:model_sha256"]
    assert loaded.emd_text == source.emd_text
    assert loaded.file.proto.SerializeToString() == source.file.proto.SerializeToString()
    assert item["id"] == f"My-Net-{digest(source)[:12]}"
    assert catalog.get_item(MODELS, item["id"]) == item
    place = store / "My-Net" / digest(source)[:12]
    assert sorted(path.name for path in place.iterdir()) == [f"{item['id']}.json", "My-Net.emd", "net.onnx"]
    for asset in item["assets"].values():
        content = Path(asset["href"]).read_bytes()
        assert (asset["file:size"], asset["file:checksum"]) == (
            len(content),
            "1220" + hashlib.sha256(content).hexdigest(),
        )


@pytest.mark.shared
def test_items_are_valid(tmp_path: Path, catalog: SqliteCatalog, store: Path, shared: Path) -> None:
    """Items and Collection, in the catalog and beside the files, are valid and load in pystac."""
    conv_network(tmp_path / "log.onnx", seed=1)
    shutil.copytree(tmp_path, tmp_path / "source", ignore=lambda *_: ["catalog.db", "catalog.db-wal", "catalog.db-shm"])
    add_model(catalog, store, package(tmp_path / "source"), NOW)
    add_model(catalog, store, package(tmp_path / "source", 6, ExtractBands=["Red", "Green"], DataRange=[-1, 1]), NOW)
    add_model(catalog, store, package(tmp_path / "source", PreprocessingModel="log.onnx", ModelName="x"), NOW)
    real = load_package(str(shared / "data" / "esri_cntk_landclass" / "trained.emd"))
    add_model(catalog, store, real, NOW)
    require_valid(json.loads((store / "collection.json").read_text()), shared)
    require_valid(catalog.get_collection(MODELS) or {}, shared)
    assert len(list_models(catalog)) == 4
    for item in list_models(catalog):
        assert set(item["stac_extensions"]) <= set(require_valid(item, shared))
        path = store / item["properties"]["geodl:model"] / item["properties"]["version"] / f"{item['id']}.json"
        require_valid(json.loads(path.read_text()), shared)
        beside = pystac.Item.from_file(str(path))
        for key, asset in beside.assets.items():
            assert asset.get_absolute_href() == item["assets"][key]["href"]
        missing = [link.rel for link in beside.links if not Path(str(link.get_absolute_href())).exists()]
        assert set(missing) <= {"root"}


def test_adding_twice_changes_nothing(tmp_path: Path, catalog: SqliteCatalog, store: Path) -> None:
    """The same model again, at another time and from another place, changes no byte; lost files are brought back."""
    item = add_model(catalog, store, package(tmp_path / "one"), NOW)
    before, writes = everything(store), catalog.outbox(0, 100)
    text = (tmp_path / "one" / "net.emd").read_text()
    again = add_model(catalog, store, package(tmp_path / "two"), NOW + timedelta(days=9))
    assert (again, everything(store), catalog.outbox(0, 100)) == (item, before, writes)
    Path(item["assets"]["model"]["href"]).unlink()
    Path(item["assets"]["emd"]["href"]).write_text("{}")
    assert add_model(catalog, store, package(tmp_path / "two"), NOW + timedelta(days=9)) == item
    assert everything(store) == before
    assert text


def test_versions_know_one_another(tmp_path: Path, catalog: SqliteCatalog, store: Path) -> None:
    """A new version of a name links back and forth, also when registered at the same moment; removing one heals it."""
    items = [add_model(catalog, store, package(tmp_path / "s", seed), NOW) for seed in (1, 2, 3)]
    other = add_model(catalog, store, package(tmp_path / "s", 1, ModelName="other"), NOW)
    one, two, three = (catalog.get_item(MODELS, item["id"]) or {} for item in items)
    assert rels(one) == {"successor-version": two["id"], "latest-version": three["id"]}
    assert rels(two) == {
        "predecessor-version": one["id"],
        "successor-version": three["id"],
        "latest-version": three["id"],
    }
    assert rels(three) == {"predecessor-version": two["id"]}
    assert rels(other) == {}
    assert [item["properties"]["deprecated"] for item in (one, two, three)] == [False] * 3
    assert find_model(catalog, "net")["id"] == three["id"]
    add_model(catalog, store, package(tmp_path / "s", 1), NOW + timedelta(days=1))
    assert find_model(catalog, "net")["id"] == three["id"]
    remove_model(catalog, store, two, NOW)
    assert rels(catalog.get_item(MODELS, one["id"]) or {}) == {
        "successor-version": three["id"],
        "latest-version": three["id"],
    }
    assert rels(find_model(catalog, "net")) == {"predecessor-version": one["id"]}
    on_disk = json.loads(Path(store / "net" / one["properties"]["version"] / f"{one['id']}.json").read_text())
    assert rels(on_disk)["successor-version"] == three["id"]
    assert not (store / "net" / two["properties"]["version"]).exists()


def test_what_a_model_is_called(tmp_path: Path, catalog: SqliteCatalog, store: Path) -> None:
    """NAME is the latest; NAME@VERSION takes a hash, four characters of it, or the definition's own version."""
    old = add_model(catalog, store, package(tmp_path / "s", 1, ModelName="My Net", Version="2024.01"), NOW)
    new = add_model(catalog, store, package(tmp_path / "s", 2, ModelName="My Net", Version="2024.05"), NOW)
    version = old["properties"]["version"]
    assert find_model(catalog, "My Net")["id"] == find_model(catalog, "My-Net")["id"] == new["id"]
    names = [f"My-Net@{version}", f"My Net@{version[:4].upper()}", "My Net@2024.01", old["id"]]
    names.append(f"My-Net@{old['properties']['geodl:model_sha256']}")
    assert {find_model(catalog, name)["id"] for name in names} == {old["id"]}
    for name, said in (
        ("nothing", "no registered model nothing; there are: My-Net"),
        (f"My-Net@{version[:3]}", "expected 4 characters"),
        ("My-Net@ffff0000", f"no version ffff0000; there are: .*{version}"),
    ):
        with pytest.raises(ModelError, match=said):
            find_model(catalog, name)


def test_a_version_that_means_two(catalog: SqliteCatalog, tmp_path: Path, store: Path) -> None:
    """A version that two share is refused with both of them."""
    items = [add_model(catalog, store, package(tmp_path / "s", seed, Version="2024.01"), NOW) for seed in (1, 2)]
    with pytest.raises(ModelError, match="means 2 of its versions") as caught:
        find_model(catalog, "net@2024.01")
    assert all(item["properties"]["version"] in caught.value.message for item in items)
    # Content hashes cannot be chosen: two that begin alike are written by hand.
    for number, item in enumerate(items):
        item["properties"]["geodl:model_sha256"] = "abcd" + str(number) * 60
        item["properties"]["version"] = item["properties"]["geodl:model_sha256"][:12]
    catalog.put_items(items)
    with pytest.raises(ModelError, match="abcd means 2"):
        find_model(catalog, "net@abcd")
    assert find_model(catalog, "net@abcd1")["id"] == items[1]["id"]


def test_nothing_is_registered(catalog: SqliteCatalog, tmp_path: Path) -> None:
    """An empty catalog has no models, and says so."""
    assert list_models(catalog) == []
    with pytest.raises(ModelError, match="there are: none at all"):
        find_model(catalog, "net")


@pytest.mark.parametrize("key", ["model", "emd", "preprocessing"])
@pytest.mark.parametrize("damage", ["missing", "other"])
def test_files_that_are_not_what_was_registered(
    tmp_path: Path, catalog: SqliteCatalog, store: Path, key: str, damage: str
) -> None:
    """A model whose file is missing or was exchanged is refused, by name, when it is loaded or exported."""
    (tmp_path / "s").mkdir()
    conv_network(tmp_path / "s" / "log.onnx", seed=1)
    item = add_model(catalog, store, package(tmp_path / "s", PreprocessingModel="log.onnx"), NOW)
    assert digest(load_registered(item)) == item["properties"]["geodl:model_sha256"]
    path = Path(item["assets"][key]["href"])
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    said = "found none" if damage == "missing" else "is not the file that was registered"
    with pytest.raises(ModelError, match=f"asset {key}.*{said}"):
        load_registered(item)
    with pytest.raises(ModelError, match=f"asset {key}"):
        export_model(item, tmp_path / "out.dlpk")
    assert not (tmp_path / "out.dlpk").exists()


def test_weights_outside_the_network_come_inside(tmp_path: Path, catalog: SqliteCatalog, store: Path) -> None:
    """A network with external data is registered as one file, again without change, and gives the same answers."""
    conv_network(tmp_path / "whole.onnx")
    folder = tmp_path / "split"
    folder.mkdir()
    proto = onnx.load(tmp_path / "whole.onnx")
    onnx.save(proto, folder / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    item = add_model(catalog, store, load_package(str(write_emd(folder))), NOW)
    assert add_model(catalog, store, load_package(str(folder / "net.emd")), NOW) == item
    registered = Path(item["assets"]["model"]["href"])
    assert sorted(path.suffix for path in registered.parent.iterdir()) == [".emd", ".json", ".onnx"]
    pixels = np.random.default_rng(1).uniform(0, 1000, (2, 40, 50))
    assert (run_whole(registered, pixels) == run_whole(tmp_path / "whole.onnx", pixels)).all()


@pytest.mark.parametrize("model_file", ["net.onnx", ".\\net.onnx", "sub\\net.onnx", "../net.onnx", "ABSOLUTE"])
def test_export(tmp_path: Path, catalog: SqliteCatalog, store: Path, model_file: str) -> None:
    """An exported model is read again, the same bytes every time; verbatim unless its definition named a far place."""
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    for place in (folder, folder / "sub", tmp_path):
        conv_network(place / "net.onnx")
    said = str(folder / "net.onnx") if model_file == "ABSOLUTE" else model_file
    item = add_model(catalog, store, load_package(str(write_emd(folder, said))), NOW)
    export_model(item, tmp_path / "a.dlpk")
    export_model(item, tmp_path / "deeper" / "b.dlpk")
    export_model(item, tmp_path / "folder")
    assert (tmp_path / "a.dlpk").read_bytes() == (tmp_path / "deeper" / "b.dlpk").read_bytes()
    for target in (tmp_path / "a.dlpk", tmp_path / "folder" / "net.emd"):
        again = load_package(str(target))
        if model_file in ("../net.onnx", "ABSOLUTE"):
            assert (again.emd.ModelFile, again.emd.Classes) == ("net.onnx", load_registered(item).emd.Classes)
        else:
            assert add_model(catalog, store, again, NOW) == item


def test_results_keep_a_model(tmp_path: Path, catalog: SqliteCatalog, store: Path) -> None:
    """A model that made results is removed only by force, and the refusal says how many they are."""
    item = add_model(catalog, store, package(tmp_path / "s"), NOW)
    catalog.put_collection({"id": "results"})
    for number in range(2):
        result = {
            "type": "Feature",
            "id": f"r{number}",
            "collection": "results",
            "geometry": {"type": "Point", "coordinates": [1, 2]},
            "properties": {
                "datetime": "2026-01-01T00:00:00Z",
                "geodl:model_sha256": item["properties"]["geodl:model_sha256"],
            },
            "links": [],
            "assets": {},
        }
        catalog.put_item(result)
    assert count_results(catalog, item) == 2
    with pytest.raises(ModelError, match="2 results in the catalog were made by it"):
        remove_model(catalog, store, item, NOW)
    assert load_registered(find_model(catalog, "net"))
    remove_model(catalog, store, item, NOW, is_forced=True)
    assert list_models(catalog) == []
    assert sorted(everything(store)) == ["collection.json"]
    assert catalog.get_item("results", "r0")


def test_removing_touches_nothing_else(tmp_path: Path, catalog: SqliteCatalog, store: Path) -> None:
    """Files that lie elsewhere or that nobody registered stay, whatever an Item says of its name and files."""
    item = add_model(catalog, store, package(tmp_path / "s"), NOW)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "net.onnx").write_bytes(b"mine")
    note = Path(item["assets"]["model"]["href"]).parent / "note.txt"
    note.write_text("keep")
    evil = json.loads(json.dumps(item))
    evil |= {"id": "evil", "assets": {"model": {"href": str(mine / "net.onnx")}}}
    evil["properties"] |= {"geodl:model": "..", "version": "mine", "geodl:model_sha256": "mine"}
    catalog.put_item(evil)
    remove_model(catalog, store, evil, NOW)
    remove_model(catalog, store, item, NOW)
    assert (mine / "net.onnx").read_bytes() == b"mine"
    assert note.read_text() == "keep"


def test_a_foreign_item_runs_without_a_definition(tmp_path: Path) -> None:
    """An Item of somebody else with an ONNX asset and no EMD is a model, and can be exported as one."""
    conv_network(tmp_path / "water.onnx")
    item = {
        "type": "Feature",
        "id": "foreign",
        "properties": {
            "mlm:name": "Water",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:input": [
                {
                    "name": "x",
                    "bands": ["B04", "B03"],
                    "input": {"shape": [-1, 2, -1, -1], "dim_order": ["batch", "bands", "height", "width"]},
                    "value_scaling": [{"type": "z-score", "mean": 0, "stddev": 3000}],
                    "resize_type": "crop",
                }
            ],
            "mlm:output": [
                {
                    "name": "y",
                    "classification:classes": [
                        {"value": entry["Value"], "name": entry["Name"], "description": "d"} for entry in CLASSES
                    ],
                }
            ],
        },
        "assets": {"net": {"href": str(tmp_path / "water.onnx"), "roles": ["mlm:model"]}},
        "links": [],
    }
    assert read_model_files(item).warnings == ("mlm:input: resize_type 'crop' is left out",)
    loaded = load_registered(item)
    model = make_model(loaded.emd, loaded.file.graph, loaded.name)
    assert loaded.repairs == ("mlm:input: resize_type 'crop' is left out",)
    assert (model.name, model.bands, model.indices_to_ids) == ("Water", ("B04", "B03"), (1, 2, 7))
    assert model.scaling.std == (3000.0, 3000.0)
    export_model(item, tmp_path / "water.dlpk")
    assert load_package(str(tmp_path / "water.dlpk")).emd == loaded.emd
    item["assets"]["net"]["href"] = "https://example.com/water.onnx"
    with pytest.raises(ModelError, match="expected a local file, found https"):
        load_registered(item)

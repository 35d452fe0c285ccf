"""`geodl model add|list|show|remove|export` as a user types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from commands import geodl, run_json
from geodl_core.cli.model_registry import REGISTRY_COMMANDS
from geodl_core.io.package.package import load_package
from networks import CLASSES, conv_network, write_emd
from scenes import write_scene


def run(*arguments: object, cwd: Path, **env: str) -> str:
    """Run `geodl model …`, which must succeed, and return what it prints."""
    result = geodl("model", *arguments, cwd=cwd, **env)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(*arguments: object, cwd: Path) -> str:
    """Run `geodl model …`, which must fail with plain words, and return them."""
    result = geodl("model", *arguments, cwd=cwd)
    assert result.returncode in (2, 75), (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture
def emd(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    conv_network(tmp_path / "source" / "net.onnx")
    return write_emd(tmp_path / "source", ModelName="[bold] Net", Version="2024.05", Description="Of the Alps.")


def test_a_life_of_a_model(tmp_path: Path, emd: Path) -> None:
    """A model is added, listed, shown, exported, superseded and removed; its files lie beside the catalog."""
    env = {"GEODL_CATALOG": str(tmp_path / "db" / "catalog.db")}
    (tmp_path / "db").mkdir()
    said = run("add", emd, cwd=tmp_path, **env)
    name, _, version = said.removeprefix("registered ").strip().partition("@")
    assert (name, len(version)) == ("bold-Net", 12)
    assert run("add", emd, cwd=tmp_path, **env) == f"already registered {name}@{version}\n"
    assert (tmp_path / "db" / "models" / name / version / "net.onnx").is_file()
    listed = run("list", cwd=tmp_path, **env)
    assert [part in listed for part in (name, version, "2024.05", "semantic-segmentation", "1 model")] == [True] * 5
    (item,) = json.loads(run("list", "--json", cwd=tmp_path, **env))["features"]
    assert json.loads(run("show", f"{name}@{version[:4]}", "--json", cwd=tmp_path, **env)) == item
    card = run("show", name, cwd=tmp_path, **env)
    for part in ("(latest)", "[bold] Net", "Of the Alps.", "band_1, band_2", "7 Bright", "1,000", "batch any"):
        assert part in card
    run("export", name, tmp_path / "out.dlpk", cwd=tmp_path, **env)
    assert load_package(str(tmp_path / "out.dlpk")).emd_text == emd.read_bytes()
    conv_network(emd.parent / "net.onnx", seed=6)
    newer = run("add", emd, cwd=tmp_path, **env).split("@")[1].strip()
    assert f"(latest: {name}-{newer})" in run("show", f"{name}@{version}", cwd=tmp_path, **env)
    assert run("remove", f"{name}@{newer}", cwd=tmp_path, **env) == f"removed {name}@{newer}\n"
    run("remove", name, cwd=tmp_path, **env)
    assert run("list", cwd=tmp_path, **env) == "no models\n"
    assert not (tmp_path / "db" / "models" / name).exists()


def test_a_registered_model_runs(tmp_path: Path, emd: Path) -> None:
    """`geodl run --model NAME` gives what the file gives, and the model is kept for its results."""
    item, _ = write_scene(tmp_path)
    run("add", emd, "--catalog", "out/catalog.db", cwd=tmp_path)
    by_name = run_json(item, "-m", "bold-Net", "-o", "out", "--arg", "tile_size=160", cwd=tmp_path)
    by_file = run_json(item, "-m", emd, "-o", "out", "--arg", "tile_size=160", cwd=tmp_path)
    assert (by_name["status"], by_file["status"], by_file["id"]) == ("computed", "present", by_name["id"])
    said = refused("remove", "bold-Net", "--catalog", "out/catalog.db", cwd=tmp_path)
    assert "1 result in the catalog was made by it" in said
    assert "--force" in said
    run("remove", "bold-Net", "--catalog", "out/catalog.db", "--force", cwd=tmp_path)


def test_a_foreign_item_is_added(tmp_path: Path) -> None:
    """An MLM Item with an ONNX asset is registered; what is left out of it is said."""
    conv_network(tmp_path / "water.onnx")
    source: dict[str, Any] = {
        "name": "x",
        "bands": ["B04", "B03"],
        "input": {"shape": [-1, 2, -1, -1], "dim_order": ["batch", "bands", "height", "width"], "data_type": "float32"},
        "value_scaling": [{"type": "clip", "minimum": 0, "maximum": 1}],
    }
    classes = [{"value": entry["Value"], "name": "c", "description": entry["Name"]} for entry in CLASSES]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "water-item",
        "geometry": None,
        "properties": {
            "datetime": "2026-01-01T00:00:00Z",
            "mlm:name": "Water",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:input": [source],
            "mlm:output": [{"name": "y", "classification:classes": classes}],
        },
        "assets": {"net": {"href": "./water.onnx", "roles": ["mlm:model"], "mlm:artifact_type": "onnx"}},
        "links": [],
    }
    (tmp_path / "item.json").write_text(json.dumps(item))
    result = geodl("model", "add", "item.json", "--catalog", "c.db", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "note: mlm:input: the value_scaling clip is left out" in result.stderr
    assert json.loads(result.stdout)["properties"]["geodl:model"] == "Water"
    assert "already registered Water@" in run("add", "item.json", "--catalog", "c.db", cwd=tmp_path)


def test_what_is_refused(tmp_path: Path, emd: Path) -> None:
    """Mistakes are answered in plain words: names, files, catalogs, places."""
    run("add", emd, "--catalog", "c.db", cwd=tmp_path)
    assert "there are: bold-Net" in refused("show", "other", "--catalog", "c.db", cwd=tmp_path)
    assert "4 characters" in refused("show", "bold-Net@1", "--catalog", "c.db", cwd=tmp_path)
    assert "missing.emd" in refused("add", "missing.emd", "--catalog", "c.db", cwd=tmp_path)
    assert "none.db" in refused("list", "--catalog", "none.db", cwd=tmp_path)
    assert "--store" in refused("add", emd, "--catalog", "https://user:secret@example.com", cwd=tmp_path)
    assert "secret" not in refused("add", emd, "--catalog", "https://user:secret@example.com", cwd=tmp_path)
    (tmp_path / "file").write_bytes(b"")
    assert "cannot be written" in refused("export", "bold-Net", "file/x.dlpk", "--catalog", "c.db", cwd=tmp_path)
    (tmp_path / "models" / "bold-Net").rename(tmp_path / "away")
    assert "add the model again" in refused("export", "bold-Net", "x.dlpk", "--catalog", "c.db", cwd=tmp_path)
    run("add", emd, "--catalog", "c.db", "--store", tmp_path / "models", cwd=tmp_path)
    run("export", "bold-Net", "x.dlpk", "--catalog", "c.db", cwd=tmp_path)


@pytest.mark.parametrize("command", REGISTRY_COMMANDS, ids=lambda command: command.name)
def test_help_has_examples(command: Any) -> None:
    """Each command's help shows how it is called."""
    assert "Examples:" in command.help
    assert f"geodl model {command.name}" in command.help

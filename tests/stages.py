"""Stages of a run, each in a fresh interpreter, and what they work on."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import one_stage
from geodl_core.catalog.models import add_model
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.io.package.package import load_package
from networks import conv_network, write_emd
from perfect import write_detector, write_objects
from registered import DETECTORS, PIXELS, write_models
from scenes import write_scene

STAGE = Path(one_stage.__file__)
STAGES = ("ingest", "load", "plan", "shard", "merge", "register")
"""In the order of a run."""
OTHERS = {kind: write for kind, write in {**PIXELS, **DETECTORS}.items() if kind in PIXELS or "masks" in kind}


def run_here(stage: str, folder: Path) -> Any:
    """Run a stage in this process; return its answer, as JSON gives it."""
    return json.loads(json.dumps(one_stage.STAGES[stage](folder)))


def run_stage(stage: str, folder: Path) -> dict[str, Any]:
    """Run a stage in a fresh interpreter; return what it prints."""
    command = [sys.executable, str(STAGE), stage, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def make_works(folder: Path, kind: str) -> Path:
    """Write a scene, and register a model of a kind for it, and others that loading takes more for."""
    if kind == "pixels":
        write_scene(folder)
        conv_network(folder / "net.onnx")
        emd = write_emd(folder)
    elif kind == "unfollowed":
        write_scene(folder)
        emd = PIXELS["scores, unfollowed"](folder)
    else:
        write_objects(folder, [(20, 20, 60, 50, 0), (250, 200, 280, 240, 1), (300, 300, 330, 330, 2)], (400, 420))
        emd = write_detector(folder)
    with SqliteCatalog(folder / "catalog.db") as catalog:
        items = {
            name: add_model(catalog, folder / "models", load_package(str(path)), datetime(2026, 1, 1, tzinfo=UTC))
            for name, path in {"": emd, **write_models(folder / "sources", OTHERS)}.items()
        }
    (folder / "model.json").write_text(json.dumps(items.pop("")))
    (folder / "models.json").write_text(json.dumps(items))
    return folder

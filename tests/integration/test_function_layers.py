"""The layers of the functions on AWS: light enough, and whole although much is stripped from them."""

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import layers
from handlers import can_start, environment_of, services
from layers import ROOT, Function, NoPackagesError, Table
from runs import data_files
from stages import STAGE, STAGES, make_works, run_here

TABLE = layers.read_table()
HERE = "{}.{}".format(*sys.version_info)
PYTHONS = {version: found for version in (TABLE.python, HERE) if (found := layers.find_python(version))}
"""Those on which layers can be tried: version → interpreter."""
NO_INDEX = ("error sending request", "failed to fetch", "dns error", "network was disabled", "offline")
"""How uv says that it reaches no index; anything else is a fault of the lists."""


def build(target: Path, python: str) -> Path:
    """Build all layers for a Python, or skip where there is no index and nothing cached."""
    if shutil.which("uv") is None:
        pytest.skip("layers: the program uv is not installed")
    try:
        layers.build_layers(target, python, TABLE.platform)
    except NoPackagesError as error:
        if any(words in str(error).lower() for words in NO_INDEX):
            pytest.skip(f"layers: the package index is not there, and not all is cached for Python {python}")
        raise
    return target


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers for the template's Python."""
    return build(tmp_path_factory.mktemp("layers"), TABLE.python)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene and a model, and what the whole packages make of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEODL_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = make_works(tmp_path_factory.mktemp("pixels"), "pixels")
        answers = {stage: run_here(stage, folder) for stage in STAGES}
    (folder / "answers.json").write_text(json.dumps(answers))
    return folder


@pytest.fixture(scope="module")
def place() -> Iterator[Mapping[str, str] | None]:
    """What functions ask as they start; None where there is no PostgreSQL."""
    with services() as found:
        yield found


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of each file in a folder."""
    files = filter(Path.is_file, folder.rglob("*"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_functions_fit(built: Path) -> None:
    """Each function with its layers and geodl's code stays below what Lambda takes, with room for its own code."""
    found = layers.weights(built, TABLE)
    assert found.keys() == {function.name for function in TABLE.functions}
    assert {name: size for name, size in found.items() if size + TABLE.spare_bytes > TABLE.most_bytes} == {}
    assert all(len(function.layers) <= TABLE.most_layers for function in TABLE.functions)
    assert {layer for function in TABLE.functions for layer in function.layers} == set(layers.layer_names())


def test_code_is_compiled(built: Path) -> None:
    """All code is compiled for the template's Python, by rules that no date breaks; where there is none, nothing is."""
    tag = f"cpython-{TABLE.python.replace('.', '')}"
    compiled = {path for path in built.rglob("*.pyc") if tag in path.name}
    sources = [path for path in built.rglob("*.py") if "numpy" in path.parts]
    expected = {path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc" for path in sources}
    assert expected <= compiled if TABLE.python in PYTHONS else not compiled
    # Bit 0: checked by a hash, not by the source's time; bit 1: not even that (PEP 552).
    assert all(path.read_bytes()[4:8] == b"\1\0\0\0" for path in expected & compiled)


@pytest.mark.skipif(TABLE.python not in PYTHONS, reason=f"there is no Python {TABLE.python}")
def test_code_names_its_place_on_lambda(built: Path) -> None:
    """Tracebacks name files where they lie on Lambda, not where they were compiled."""
    compiled = next(built.rglob("geodl_core/__pycache__/errors.*.pyc"))
    code = "import marshal, sys; print(marshal.loads(open(sys.argv[1], 'rb').read()[16:]).co_filename)"
    command = [PYTHONS[TABLE.python], "-I", "-c", code, str(compiled)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "/opt/python/geodl_core/errors.py"


def test_building_again_changes_nothing(built: Path) -> None:
    """What was built of the same is left alone; what is built anew of the same has the same bytes."""
    before = {layer: (built / layer).stat().st_ino for layer in layers.layer_names()}
    contents = {layer: hashes(built / layer) for layer in ("catalog", layers.OWN)}
    build(built, TABLE.python)
    assert {layer: (built / layer).stat().st_ino for layer in before} == before
    for layer in contents:
        (built / f"{layer}.sha256").write_text("of something else")
    build(built, TABLE.python)
    anew = {layer for layer in before if (built / layer).stat().st_ino != before[layer]}
    assert anew == contents.keys()
    assert {layer: hashes(built / layer) for layer in contents} == contents


def test_layers_are_of_that_python(built: Path) -> None:
    """Compiled modules are of the template's Python and machine, and none of another."""
    names = [path.name for path in built.rglob("*.cpython-*.so")]
    assert names
    tag = f"cpython-{TABLE.python.replace('.', '')}-x86_64-linux-gnu"
    assert [name for name in names if tag not in name] == []


def test_nothing_twice(built: Path) -> None:
    """No function has a file in two of its layers: Lambda would lay one over the other."""
    for function in TABLE.functions:
        seen: dict[Path, str] = {}
        for layer in function.layers:
            for path in filter(Path.is_file, (built / layer).rglob("*")):
                inside = path.relative_to(built / layer)
                assert seen.setdefault(inside, layer) == layer, (function.name, inside, layer, seen[inside])


def alone(
    python: str, script: list[str], function: Function, target: Path, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a script that sees Python itself and a function with its layers, nothing else; return what it prints."""
    runtime = layers.link_runtime(target / "runtime")
    places = [str(path) for path in layers.paths_of(function, target, runtime)]
    command = [python, "-I", "-S", "-B", *script, *places]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert result.returncode == 0, (function.name, result.stderr)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    allowed = (str(ROOT), *places)
    for file in found["files"]:
        assert file.startswith(allowed) or "site-packages" not in file, file
        assert not file.startswith(str(ROOT / "geodl_core")), file
    return found


IMPORTS = """
import importlib, importlib.metadata, json, sys, time
modules = json.loads(sys.argv[1])
sys.path[:0] = sys.argv[2:]
begun = time.process_time()
import app
spent = time.process_time() - begun
for name in modules:
    importlib.import_module(name)
files = sorted({module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)})
packages = sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))
version = importlib.metadata.version("geodl")
print(json.dumps({"files": files, "packages": packages, "version": version, "handler": app.handler.__name__,
                  "import_ms": spent * 1000}))
"""


def import_everything(python: str, target: Path, place: Mapping[str, str] | None) -> None:
    """Import each function's handler, with the variables that it has on Lambda, and what it imports when called."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for function in TABLE.functions:
        if can_start(function, place):
            script = ["-c", IMPORTS, json.dumps(function.modules)]
            found = alone(python, script, function, target, environment_of(function, place))
            assert not function.never.intersection(found["packages"]), function.name
            assert (found["version"], found["handler"]) == (version, "handler")


def run_everything(python: str, target: Path, works: Path, folder: Path) -> None:
    """Run the stages from the layers alone; the answers are as ever."""
    by_name = {function.name: function for function in TABLE.functions}
    answers = json.loads((works / "answers.json").read_text())
    shutil.copytree(works, folder)
    # The plan and what follows from it are made anew; parts alone are kept: no layer can run a network.
    shutil.copytree(folder / "work" / "parts", folder / "parts")
    shutil.rmtree(folder / "work")
    functions = {"ingest": "ingest", "load": "plan", "plan": "plan", "merge": "merge_raster", "register": "register"}
    for stage, name in functions.items():
        if stage == "merge":
            shutil.move(folder / "parts", folder / "work" / "parts")
        found = alone(python, [str(STAGE), stage, str(folder)], by_name[name], target)
        assert found["answer"] == answers[stage], stage
        assert not by_name[name].never.intersection(found["packages"]), stage
    # Data files are those of a machine where everything is installed, be its Python and GDAL others.
    assert data_files(folder / "work") == data_files(works / "work")


@pytest.mark.parametrize("version", [*PYTHONS][:1])
def test_nothing_that_is_needed_was_stripped(
    version: str, built: Path, works: Path, place: Mapping[str, str] | None, tmp_path: Path
) -> None:
    """From the layers alone, as Lambda has them, every function's handler loads and the stages give what they give.

    On the template's Python, or where there is none on the one that runs this, for which layers are built likewise.
    """
    target = built if version == TABLE.python else build(tmp_path / "layers", version)
    import_everything(PYTHONS[version], target, place)
    run_everything(PYTHONS[version], target, works, tmp_path / "works")


@pytest.mark.skipif(TABLE.python not in PYTHONS, reason=f"there is no Python {TABLE.python}")
def test_cold_starts(built: Path, place: Mapping[str, str] | None) -> None:
    """No handler takes twice as long to import as it may; scripts/bench_imports measures on a machine that rests."""
    for function in TABLE.functions:
        if can_start(function, place):
            script, env = ["-c", IMPORTS, "[]"], environment_of(function, place)
            for _ in range(2):  # where the machine has other things to do, too
                found = alone(PYTHONS[TABLE.python], script, function, built, env)["import_ms"]
                if found <= 2 * function.import_ms:
                    break
            assert found <= 2 * function.import_ms, function.name


def test_every_function_is_in_the_table() -> None:
    """Each folder of functions has its line, but the one that is a container image."""
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert folders - {"merge_vector"} == {function.name for function in TABLE.functions}


def test_a_broken_library_is_noticed(built: Path) -> None:
    """Segments that lie otherwise in the file than in memory are told from those that do not."""
    library = next(built.rglob("libgdal*.so*"))
    content = library.read_bytes()
    assert layers.is_loadable(content)
    # The file offset of the second program header that is loaded, moved by a byte.
    table = int.from_bytes(content[32:40], "little")
    first = next(at for at in range(table, table + 56 * 20, 56) if content[at : at + 4] == b"\1\0\0\0")
    moved = bytearray(content)
    moved[first + 8] ^= 1
    assert not layers.is_loadable(bytes(moved))


def test_lists_are_of_the_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package that uv.lock does not have is refused before anything is installed."""
    if shutil.which("uv") is None:
        pytest.skip("layers: the program uv is not installed")
    shutil.copytree(layers.LAYERS, tmp_path / "layers")
    monkeypatch.setattr(layers, "LAYERS", tmp_path / "layers")
    path = tmp_path / "layers" / "api" / "requirements.txt"
    path.write_text(path.read_text() + "no-such-package\n")
    with pytest.raises(ValueError, match="found no-such-package"):
        layers.build_layers(tmp_path / "out", TABLE.python, TABLE.platform)
    assert not (tmp_path / "out").exists()


def test_the_table_is_read() -> None:
    """The limits are Lambda's, and what no function may import is forbidden to each."""
    assert isinstance(TABLE, Table)
    assert (TABLE.most_bytes, TABLE.most_layers) == (262_144_000, 5)
    assert all({"onnxruntime", "scipy", "pyarrow"} <= function.never for function in TABLE.functions)

"""Layers of the functions on AWS: built from the lock file, without what no function needs, and weighed."""

import fcntl
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ROOT / "layers"
BASE = "base"
"""The layer that every function has."""
OWN = "geodl"
"""The layer with geodl's own code."""
PACKAGES = "python"
"""Folder within a layer that Lambda puts on the path."""
MOUNTED = "/opt"
"""Where layers lie on Lambda: what is compiled names its sources by that."""
EXTRAS = ("pgstac", "aws")
OWN_PACKAGE = "geodl_core"
UNUSED_FOLDERS = frozenset({"tests", "test", "__pycache__", "include", "bin"})
UNUSED_SUFFIXES = frozenset({".a", ".c", ".cc", ".cpp", ".h", ".hpp", ".proto", ".pxd", ".pxi", ".pyi", ".pyx"})
UNUSED = ("numpy/f2py", "onnx/backend")
"""Of packages: what compiles Fortran, and tests of runtimes."""
SOURCES = frozenset({"version-parser"})
"""Published without a wheel; pure Python, so that any machine may build it."""
NEEDED = frozenset({"numpy/_core/tests/_natype.py"})
"""What a package imports from its own tests."""
RUNTIME = ("boto3", "botocore", "s3transfer")
"""What Lambda brings itself; what these need in turn is in `base`."""
ELF = b"\x7fELF"
PT_LOAD = 1


class NoPackagesError(Exception):
    """uv could not install a layer's packages: no index, or no wheel; says what uv said."""


@dataclass(frozen=True, slots=True)
class Function:
    """What a function of the template is made of."""

    name: str
    layers: tuple[str, ...]
    modules: tuple[str, ...]
    """Of geodl_core that it runs, beyond those that its handler imports at once."""
    never: frozenset[str]
    """Packages that it must not import."""
    import_ms: int
    """Of a cold start, at most."""


@dataclass(frozen=True, slots=True)
class Table:
    """`layers/functions.toml`."""

    python: str
    platform: str
    most_layers: int
    most_bytes: int
    """Of a function with its layers, unzipped."""
    spare_bytes: int
    """Of that kept free."""
    functions: tuple[Function, ...]


def read_table() -> Table:
    """Return `layers/functions.toml`."""
    said = tomllib.loads((LAYERS / "functions.toml").read_text())
    functions = tuple(
        Function(
            name,
            tuple(entry["layers"]),
            tuple(entry["modules"]),
            frozenset(said["never"]) | frozenset(entry["never"]),
            entry["import_ms"],
        )
        for name, entry in said["functions"].items()
    )
    spare = said["spare_mb"] << 20
    return Table(said["python"], said["platform"], said["most_layers"], said["most_bytes"], spare, functions)


def layer_names() -> tuple[str, ...]:
    """Return the layers that there are."""
    return tuple(sorted({OWN, *library_names()}))


def library_names() -> tuple[str, ...]:
    """Return the layers with packages of others."""
    return tuple(sorted(path.parent.name for path in LAYERS.glob("*/requirements.txt")))


def wanted(layer: str) -> list[str]:
    """Return the packages that a layer is for."""
    lines = (LAYERS / layer / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def with_dependencies(names: Iterable[str]) -> set[str]:
    """Return packages and all that they need, by uv.lock."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    needed: dict[str, set[str]] = {}
    for package in lock["package"]:
        needed.setdefault(package["name"], set()).update(entry["name"] for entry in package.get("dependencies", []))
    found: set[str] = set()
    left = set(names)
    while left:
        found |= left
        left = {other for name in left for other in needed.get(name, set())} - found
    return found


def contents(pinned: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the requirements of each layer: what it is for and what that needs, without what `base` or Lambda has.

    Args:
        pinned: requirements by package, as `locked` returns them.

    Raises:
        ValueError: a package is not in uv.lock.
    """
    names = library_names()
    strange = sorted(name for layer in names for name in wanted(layer) if name not in pinned)
    if strange:
        raise ValueError(f"layers: expected packages of uv.lock, found {', '.join(strange)}")
    every = {layer: with_dependencies(wanted(layer)) & pinned.keys() - {*RUNTIME} for layer in names}
    own = {layer: sorted(every[layer] - (every[BASE] if layer != BASE else set())) for layer in names}
    return {layer: [line for name in own[layer] for line in pinned[name]] for layer in names}


def locked() -> dict[str, list[str]]:
    """Return the requirements of uv.lock by package, versions and markers among them."""
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    command = ["uv", "export", "--frozen", "--no-dev", "--no-hashes", "--no-emit-project", "--no-annotate", "--quiet"]
    text = subprocess.run([*command, *extras], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name = re.match(r"[\w.-]+(?===)", line)
        if name:
            found.setdefault(name[0], []).append(line)
    return found


def build_layers(target: Path, python: str, platform: str) -> bool:
    """Build every layer into a folder of its own, unless what lies there was made of the same.

    The same requirements and sources give the same bytes. Where there is an interpreter of that version all code is
    compiled: Lambda cannot keep what it compiles, and would do so at each cold start.

    Args:
        target: the folder; beside each layer's folder a file NAME.sha256 says what it was made of.
        python: version that the functions run on.
        platform: as `uv pip install --python-platform` takes it.

    Returns:
        Whether the code is compiled.

    Raises:
        ValueError: a package is not in uv.lock.
        NoPackagesError: a package has no wheel for that, or there is no index.
    """
    recipes, interpreter = contents(locked()), find_python(python)
    how = [python, platform, str(interpreter is not None), Path(__file__).read_text()]
    with _held(target):
        for layer in layer_names():
            lines = recipes.get(layer)
            digest = _digest([*how, *(_own_sources() if lines is None else lines)])
            stamp = target / f"{layer}.sha256"
            if (target / layer).is_dir() and stamp.is_file() and stamp.read_text() == digest:
                continue
            # Beside the one that is there, which somebody may be using.
            draft, old = target / f".{layer}.draft", target / f".{layer}.old"
            for folder in (draft, old):
                shutil.rmtree(folder, ignore_errors=True)
            packages = draft / PACKAGES
            if lines is None:
                copy_own_code(packages)
            else:
                _install(packages, lines, python, platform)
                strip_packages(packages)
            if interpreter is not None:
                compile_packages(packages, interpreter)
            stamp.unlink(missing_ok=True)
            if (target / layer).exists():
                (target / layer).rename(old)
            draft.rename(target / layer)
            shutil.rmtree(old, ignore_errors=True)
            stamp.write_text(digest)
    return interpreter is not None


@contextmanager
def _held(target: Path) -> Iterator[None]:
    """Keep others from building into the same folder meanwhile."""
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _own_files() -> list[Path]:
    """Return the files of geodl_core, in a fixed order."""
    found = (ROOT / OWN_PACKAGE).rglob("*")
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def _own_sources() -> Iterator[str]:
    yield own_metadata()
    for path in _own_files():
        yield f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def own_metadata() -> str:
    """Return what an installed package says of itself, so that geodl knows its version in a function, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"


def copy_own_code(folder: Path) -> None:
    """Copy geodl_core into a folder, as it would be installed there, without its command."""
    for path in _own_files():
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    text = own_metadata()
    name, version = re.findall(r"^(?:Name|Version): (.+)$", text, re.MULTILINE)
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(text)


def _install(folder: Path, lines: list[str], python: str, platform: str) -> None:
    names = [line.partition("==")[0] for line in lines]
    wheels = [word for name in names if name not in SOURCES for word in ("--only-binary", name)]
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--no-config", *wheels]
    # Copied: what is stripped here must not be the cache's own files.
    how = ["--link-mode", "copy", "--python-version", python, "--python-platform", platform, "--target", str(folder)]
    done = subprocess.run(
        [*command, *how, "-r", "-"], input="\n".join(lines), text=True, capture_output=True, check=False, cwd=ROOT
    )
    if done.returncode:
        raise NoPackagesError(done.stderr.strip())
    (folder / ".lock").unlink(missing_ok=True)


def strip_packages(folder: Path) -> None:
    """Take away what no function needs: tests, headers, sources, types, and the symbols of compiled code.

    Raises:
        FileNotFoundError: there is no `strip`.
    """
    for path in UNUSED:
        shutil.rmtree(folder / path, ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        inside = path.relative_to(folder)
        is_unused = not UNUSED_FOLDERS.isdisjoint(inside.parts[:-1]) or path.suffix in UNUSED_SUFFIXES
        if path.is_file() and is_unused and str(inside) not in NEEDED:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    strip = shutil.which("strip") or shutil.which("llvm-strip")
    if strip is None:
        raise FileNotFoundError("layers: expected the program strip; install binutils")
    for path in folder.rglob("*.so*"):
        if path.is_file() and not path.is_symlink():
            _strip_symbols(path, strip)


def _strip_symbols(path: Path, strip: str) -> None:
    """Take the symbols out of a library, unless that leaves one that cannot be loaded."""
    before = path.read_bytes()
    if not before.startswith(ELF):
        return
    draft = path.with_name(f"{path.name}.draft")
    subprocess.run([strip, "--strip-unneeded", "-o", str(draft), str(path)], check=True, capture_output=True)
    if is_loadable(draft.read_bytes()):
        shutil.copymode(path, draft)
        draft.replace(path)
    else:
        draft.unlink()


def is_loadable(content: bytes) -> bool:
    """Say whether the segments of a 64-bit library lie as the loader demands: as far from a page's start as in memory.

    Libraries whose tables were moved into their middle, as wheels' are, may come out of `strip` otherwise.

    Args:
        content: of the file (ELF-64 Object File Format, version 1.5, section 7).
    """
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for number in range(count):
        kind, _, offset, address, _, _, _, align = struct.unpack_from("<IIQQQQQQ", content, table + number * size)
        if kind == PT_LOAD and align > 1 and (offset - address) % align:
            return False
    return True


def compile_packages(folder: Path, interpreter: str) -> None:
    """Compile all code; what is compiled is not compared with its source again, whose times Lambda changes."""
    how = ["-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    names = ["-s", str(folder.parent), "-p", MOUNTED]
    # What a package keeps for other versions of Python does not compile, and is never imported.
    subprocess.run([interpreter, "-I", *how, *names, str(folder)], capture_output=True, check=False)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def weights(target: Path, table: Table) -> Mapping[str, int]:
    """Return the bytes of each function with its layers."""
    sizes = {layer: size_of(target / layer) for layer in layer_names()}
    return {
        function.name: size_of(folder_of(function)) + sum(sizes[layer] for layer in function.layers)
        for function in table.functions
    }


def folder_of(function: Function) -> Path:
    """Return the folder of a function's own code."""
    return ROOT / "functions" / function.name


def link_runtime(folder: Path) -> Path:
    """Link what Lambda brings itself, from the packages that are installed here, into a folder; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in RUNTIME:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"layers: expected the package {name}, as of the development dependencies")
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(Path(spec.origin).parent, target_is_directory=True)
    return folder


def paths_of(function: Function, target: Path, runtime: Path | None = None) -> Iterator[Path]:
    """Return what Lambda has on the path of a function: its code, its layers, and what Lambda brings."""
    yield folder_of(function)
    yield from (target / layer / PACKAGES for layer in function.layers)
    if runtime is not None:
        yield runtime


def find_python(version: str) -> str | None:
    """Return a working interpreter of a version: the running one, one on the path, or one of pyenv; None: none."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")))]
    code = 'import sys; print("{}.{}".format(*sys.version_info))'
    for place in filter(None, places):
        found = subprocess.run([place, "-I", "-c", code], capture_output=True, text=True, check=False)
        if found.stdout.strip() == version:
            return place
    return None

"""Imports point left only, and each layer uses just the third parties that it may."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geodl_core"
ORDER = ("errors", "domain", "io", "engine", "catalog", "service", "aws", "settings", "cli")
"""Left to right; a layer imports itself and what stands to its left."""
COMPUTING = {"affine", "cql2", "numpy", "pydantic", "pyproj", "scipy", "shapely"}
THIRD_PARTIES = {
    "errors": set(),
    "domain": COMPUTING,
    "io": COMPUTING
    | {
        "contourpy",
        "filelock",
        "geopandas",
        "google",
        "obstore",
        "onnx",
        "pandas",
        "py7zr",
        "pyarrow",
        "pyogrio",
        "pystac",
    }
    | {"rasterio", "requests", "urllib3"},
    "engine": COMPUTING | {"onnxruntime"},
    "catalog": COMPUTING
    | {"attr", "fastapi", "psycopg", "psycopg_pool", "pyarrow", "pydantic_core", "pydantic_settings", "pypgstac"}
    | {"requests", "stac_fastapi", "stac_geoparquet", "starlette"},
    "service": COMPUTING
    | {
        "apscheduler",
        "attrs",
        "fastapi",
        "joserfc",
        "limits",
        "morecantile",
        "prometheus_client",
        "psycopg",
    }
    | {"pystac_client", "rasterio", "requests", "rio_tiler", "sqlalchemy", "stac_fastapi", "standardwebhooks"}
    | {"starlette", "titiler", "urllib3", "watchfiles", "yaml"},
    "aws": COMPUTING
    | {"boto3", "botocore", "fastapi", "pystac_client", "requests", "stac_fastapi", "starlette", "yaml"},
    "settings": set(),
    "cli": {"click", "rich", "uvicorn"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
IMPURE = {"logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "time", "urllib.request"}
MOST_LINES = 400


def layer_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path):
    return ast.parse(path.read_text())


def imported(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # Pure paths are text; the others ask the file system.
            is_pure = node.module == "pathlib" and all(alias.name.startswith("Pure") for alias in node.names)
            yield "pure paths" if is_pure else node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_left(path):
    """A module imports only its own layer, layers to its left, and the third parties of its layer."""
    layer = layer_of(path)
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "geodl_core":
            assert ORDER.index(rest[0]) <= ORDER.index(layer), f"{layer} imports {name}"
        elif top not in sys.stdlib_module_names and top != "pure paths":
            assert top in THIRD_PARTIES[layer], f"{layer} imports {name}"


@pytest.mark.parametrize("path", [path for path in MODULES if layer_of(path) == "domain"], ids=lambda path: path.name)
def test_domain_is_pure(path):
    """The domain does no I/O: no operating system, clock, randomness, logging."""
    assert not {name for name in imported(path) if name in IMPURE or name.split(".")[0] in IMPURE}


def test_environment_is_read_in_one_place():
    """Only settings.py reads environment variables."""
    readers = [path.name for path in MODULES if "os.environ" in path.read_text() or "getenv" in path.read_text()]
    assert readers == ["settings.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_short(path):
    """No module is longer than 400 lines, no function longer than 40 without its docstring."""
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1 - (len(docstring.splitlines()) if docstring else 0)
            assert lines <= 41, f"{node.name}: {lines} lines"


def test_package_imports_nothing():
    """`import geodl_core` imports nothing else."""
    assert list(imported(PACKAGE / "__init__.py")) == []

"""What commands cost before they do anything."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "rasterio", "onnx", "onnxruntime", "pystac", "pydantic", "shapely", "requests", "rich", "sqlite3")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["search", "--help"]])
def test_help_is_light(arguments):
    """Help needs none of the heavy packages."""
    code = f"""
import sys
from geodl_core.cli.main import geodl
try:
    geodl({arguments!r})
except SystemExit:
    pass
print("LOADED", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "LOADED"

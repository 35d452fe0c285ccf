"""Batches that do not fit into memory: the real allocator under a real limit, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from fused import fused_network

ROOT = Path(__file__).parents[2]
START = """
import resource, sys
from pathlib import Path
import numpy as np
from fused import stored_values
from geodl_core.domain.window import Window
from geodl_core.engine.session import fitting_batch, open_session
from geodl_core.engine.worker import Network, infer
from geodl_core.errors import OutOfMemoryError

session = open_session(Path(sys.argv[1]).read_bytes(), "cpu")
pixels = stored_values((8, 2, 256, 256))
single = np.concatenate([session.infer(pixels[n : n + 1]) for n in range(8)])
def limit(mebibytes):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + mebibytes * 2**20,) * 2)
"""


@pytest.fixture
def run(tmp_path):
    """Run lines after `START`; a tile takes 16 MiB and more between the convolutions."""
    path = tmp_path / "net.onnx"
    path.write_bytes(fused_network(sizes=(64, 1)))

    def _run(lines: str) -> list[str]:
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "MALLOC_ARENA_MAX": "1"}
        # Bytecode written beside the libraries would change folders that other tests' processes list just then.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [sys.executable, "-W", "error", "-c", START + lines, path]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.split()

    return _run


def test_a_batch_that_does_not_fit_is_halved(run):
    """A batch of 8 that fails for want of memory is run in halves, to the same answer, without a word on stderr."""
    found = run("""
limit(100)
try:
    session.infer(pixels)
except OutOfMemoryError as error:
    print("failed", error.exit_code)
whole = Window(0, 0, 256, 256)
network = Network(session, gives_scores=False, has_class=False, is_cropping=False, batch=8, is_batch_fixed=False)
print((infer(pixels, whole, whole, network) == single).all())
""")
    assert found == ["failed", "4", "True"]


def test_a_fixed_batch_is_not_halved(run):
    """A graph of fixed batch that does not fit is an OutOfMemoryError."""
    found = run("""
limit(100)
whole = Window(0, 0, 256, 256)
network = Network(session, gives_scores=False, has_class=False, is_cropping=False, batch=8, is_batch_fixed=True)
try:
    infer(pixels, whole, whole, network)
except OutOfMemoryError as error:
    print(error.message.split()[-1], "fewer" in error.hint)
""")
    assert found == ["256)", "True"]


def test_the_largest_batch_that_fits(run):
    """The batch found is the largest power of two that fits; without a limit it is the one asked for, rounded down."""
    found = run("""
print(fitting_batch(session, (2, 256, 256), "uint16", 5))
limit(200)
best = fitting_batch(session, (2, 256, 256), "uint16", 100)
session.infer(np.zeros((best, 2, 256, 256), "uint16"))
print(best in (4, 8, 16))
try:
    session.infer(np.zeros((best * 2, 2, 256, 256), "uint16"))
except (OutOfMemoryError, MemoryError):
    print("not twice that")
""")
    assert found == ["4", "True", "not", "twice", "that"]


def test_not_even_one_tile_fits(run):
    """Where one tile is too much, the search for a batch ends in an OutOfMemoryError."""
    found = run("""
limit(20)
try:
    fitting_batch(session, (2, 1024, 1024), "uint16", 4)
except OutOfMemoryError as error:
    print("batch of 1" in error.message)
""")
    assert found == ["True"]

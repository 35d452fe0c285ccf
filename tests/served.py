"""`geodl serve` as a process of its own."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVE = [sys.executable, "-c", "from geodl_core.cli.main import main; main()", "serve", "--port", "0"]


@contextmanager
def serving(catalog, log):
    """A server of a catalog file, killed at the end where it is still there; yields its process and address."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*SERVE, "--catalog", str(catalog)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), log.read_text()
        yield process, url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

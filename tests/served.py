"""`geodl serve` as a process of its own."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

from forks import Forked

ROOT = Path(__file__).parents[1]


@contextmanager
def serving(catalog, log, *arguments, workers=0, **env):
    """A server of a catalog, killed at the end where it is still there; yields its process and address."""
    words = ["serve", "--port", "0", "--catalog", catalog, "--workers", workers, *arguments]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT), **env}
    with log.open("wb") as errors:
        process = Forked(words, (subprocess.DEVNULL, subprocess.PIPE, errors), environment, log.parent)
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert url.startswith(("http://127.0.0.1:", "http://0.0.0.0:")), log.read_text()
        yield process, url.replace("0.0.0.0", "127.0.0.1")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

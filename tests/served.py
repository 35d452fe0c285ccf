"""`geodl serve` as a process of its own."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
GEODL = [sys.executable, "-c", "from geodl_core.cli.main import main; main()"]
SERVE = [*GEODL, "serve", "--port", "0"]


@contextmanager
def serving(catalog, log, *arguments, workers=0, **env):
    """A server of a catalog, killed at the end where it is still there; yields its process and address."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*SERVE, "--catalog", str(catalog), "--workers", str(workers), *map(str, arguments)],
            cwd=log.parent,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT), **env},
        )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert url.startswith(("http://127.0.0.1:", "http://0.0.0.0:")), log.read_text()
        yield process, url.replace("0.0.0.0", "127.0.0.1")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

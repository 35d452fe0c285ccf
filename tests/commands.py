"""The `geodl` command as a user types it."""

import io
import json
import os
import subprocess
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from forks import Forked
from geodl_core.cli.main import geodl as command
from geodl_core.cli.main import guarded

PATIENCE_S = 280


def geodl(*arguments: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `geodl` in a process of its own."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = Forked(arguments, (subprocess.DEVNULL, out, err), {**os.environ, **env}, cwd)
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        printed = [file.seek(0) or file.read() for file in (out, err)]
    return subprocess.CompletedProcess(process.args, code, *printed)


def run_json(*arguments: object, cwd: Path | None = None, **env: str) -> dict[str, Any]:
    """Run `geodl run … --json`, which must succeed, and return what it prints."""
    result = geodl("run", *arguments, "--json", cwd=cwd, **env)
    assert result.returncode == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def geodl_here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `geodl` in this process: faster still; working folder and environment are the test's."""
    words = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = guarded(lambda: command.main(words, standalone_mode=False))
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

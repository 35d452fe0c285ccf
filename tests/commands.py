"""The `geodl` command as a user types it."""

import atexit
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from geodl_core.cli.main import geodl as command
from geodl_core.cli.main import guarded

PATIENCE_S = 280
TEMPLATE = """
import importlib, json, os, pkgutil, signal, sys, traceback
import onnxruntime
import geodl_core
from geodl_core.cli.main import main

for module in pkgutil.walk_packages(geodl_core.__path__, "geodl_core."):
    importlib.import_module(module.name)
for line in sys.stdin:
    step = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
signal.alarm(step["patience_s"])
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number, name in enumerate(("out", "err"), 1):
    os.dup2(os.open(step[name], os.O_WRONLY | os.O_CREAT), number)
os.chdir(step["cwd"])
os.environ.clear()
os.environ.update(step["env"])
sys.argv[1:] = step["words"]
code = 1
try:
    main()
except SystemExit as stop:
    code = stop.code
except BaseException:
    traceback.print_exc()
# Not by the interpreter's own end, which waits for threads of libraries that a fork does not take along.
sys.stdout.flush(), sys.stderr.flush()
os._exit(code)
"""
"""Runs commands, one a line, each in a child of its own that has all modules from the start."""


def geodl(*arguments: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `geodl` in a process of its own, split off one that has done the imports, which spares seconds."""
    if sys.platform != "linux":  # elsewhere what libraries hold may not live through a fork
        return geodl_anew(*arguments, cwd=cwd, **env)
    words = [str(argument) for argument in arguments]
    template = _template()
    assert template.stdin
    assert template.stdout
    with TemporaryDirectory() as folder:
        out, err = (Path(folder) / name for name in ("out", "err"))
        step = {"words": words, "cwd": str(cwd or Path.cwd()), "env": {**os.environ, **env}}
        step |= {"out": str(out), "err": str(err), "patience_s": PATIENCE_S}
        template.stdin.write(json.dumps(step) + "\n")
        template.stdin.flush()
        code = int(template.stdout.readline())
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


@cache
def _template() -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", TEMPLATE]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    return process


def geodl_anew(*arguments: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `geodl` in a process that begins from nothing, imports and all."""
    command = [sys.executable, "-W", "ignore", "-c", "from geodl_core.cli.main import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


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

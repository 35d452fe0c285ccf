"""What whole processes cost, from start to exit."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Cost:
    """What the operating system accounts for a process and its children."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    """Of resident memory. Linux starts a child's peak at its parent's, so the benches themselves must stay small."""

    def __str__(self) -> str:
        return f"{self.cpu_s:.1f} s CPU, {self.wall_s:.1f} s, {self.peak_mb:.0f} MB"


def measure(command: Sequence[object]) -> tuple[Cost, str]:
    """Run a command and return its cost and standard output.

    Raises:
        SystemExit: it fails; with the last lines of its standard error.
    """
    words = [str(word) for word in command]
    # A proxy must not stand between geodl and the local server.
    env = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    # What is installed is compiled once, not in every process.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        # From the root, `-m` finds the package of this checkout, whatever is installed.
        process = subprocess.Popen(words, stdout=out, stderr=errors, env=env, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would look for a process that is gone
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").splitlines()[-LAST_LINES:]
            raise SystemExit("\n".join([*last, f"failed with {process.returncode}: {' '.join(words)}"]))
        out.seek(0)
        cost = Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024 / 1e6)
        return cost, out.read().decode()


def python(*arguments: object) -> tuple[Cost, str]:
    """Measure a command of this Python."""
    return measure([sys.executable, *arguments])


def ratio(pairs: Sequence[tuple[Cost, Cost]], field: str) -> float:
    """Return the median over the pairs of first to second: it holds where the machine's speed drifts."""
    return statistics.median(getattr(first, field) / getattr(second, field) for first, second in pairs)


def median(costs: Sequence[Cost], field: str) -> float:
    """Return the median of one of the costs' fields."""
    return statistics.median(getattr(cost, field) for cost in costs)

"""Figures as a table on the terminal and as a page under docs/benchmarks."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import rasterio
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Bench, Figure

ROOT = Path(__file__).parents[2]
HEADS = ("benchmark", "figure", "value", "target", "met")
DECIMALS = {"s": 1, "MB": 0, "%": 4}


def machine_facts() -> dict[str, str]:
    """Return what figures depend on, and nothing that tells whose machine it is."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "CPU": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_gb:.0f} GB",
        "OS": _os_name(),
        "Python": platform.python_version(),
        "geodl": f"{version('geodl')}, {_commit()}",
        "onnxruntime": _version("onnxruntime", "onnxruntime-gpu"),
        "rasterio": f"{rasterio.__version__} with GDAL {rasterio.__gdal_version__}",
        "numpy": version("numpy"),
    }


def print_table(figures: Sequence[Figure]) -> None:
    """Print the figures for people."""
    table = Table()
    for head in HEADS:
        table.add_column(head, justify="right" if head in {"value", "target"} else "left")
    for row in _rows(figures):
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 120).print(table)


def store(figures: Sequence[Figure], bench: Bench, folder: Path, script: str = "bench") -> Path:
    """Write the page and the JSON of this date and CPU, and of another script its name; return the page's path.

    What the same code measured earlier on that date with as many pairs stays, unless it was measured again.
    """
    facts, now = {**machine_facts(), "pairs": str(bench.pairs)}, datetime.now(UTC)
    slug = re.sub(r"[^a-z0-9]+", "-", facts["CPU"].lower()).strip("-")
    page = folder / f"{now:%Y-%m-%d}-{slug}{script.removeprefix('bench').replace('_', '-')}.md"
    shown = [{**asdict(figure), "is_met": figure.is_met} for figure in figures]
    runs = bench.runs
    earlier = _earlier(page.with_suffix(".json"), facts)
    if earlier:
        again = {figure.benchmark for figure in figures}
        shown = [old for old in earlier["figures"] if old["benchmark"] not in again] + shown
        runs = earlier["runs"] + runs
    folder.mkdir(parents=True, exist_ok=True)
    document = {"date": f"{now:%Y-%m-%d}", "machine": facts, "figures": shown, "runs": runs}
    page.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    kept = [Figure(**{name: value for name, value in each.items() if name != "is_met"}) for each in shown]
    page.write_text(_page(kept, facts, f"{now:%Y-%m-%d}", script))
    return page


def _page(figures: Sequence[Figure], facts: dict[str, str], date: str, script: str) -> str:
    ratios = "" if script != "bench" else " Ratios are medians over interleaved pairs of whole processes."
    lines = [
        f"# Figures of {date}, {facts['CPU']}",
        "",
        f"Made by `scripts/{script}`; what is measured and how stands there.{ratios}",
        "Absolute times hold for this machine on this day.",
        "",
        *_markdown(HEADS, _rows(figures)),
        "",
        *_markdown(("machine", ""), list(facts.items())),
    ]
    return "\n".join(lines) + "\n"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def _rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    rows = []
    for figure in figures:
        sign = "≥" if figure.is_floor else "≤"
        target = "" if figure.target is None else f"{sign} {_with_unit(figure.target, figure)}"
        met = {None: "", True: "yes", False: "no"}[figure.is_met]
        rows.append((figure.benchmark, figure.name, _with_unit(figure.value, figure), target, met))
    return rows


def _with_unit(value: float, figure: Figure) -> str:
    decimals = 0 if isinstance(figure.value, int) else DECIMALS.get(figure.unit, 2)
    return f"{value:,.{decimals}f} {figure.unit}".rstrip()


def _earlier(path: Path, facts: dict[str, str]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    document: dict[str, Any] = json.loads(path.read_text())
    return document if document["machine"] == facts else None


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return match[1].strip() if match else platform.processor() or platform.machine()


def _os_name() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release().split('-')[0]}, {platform.machine()}"


def _commit() -> str:
    """Return the commit, and whether the code differs from it."""
    commit = _git("rev-parse", "--short=10", "HEAD")
    return f"{commit} with changes" if _git("status", "--porcelain", "--", "geodl_core") else commit or "no commit"


def _git(*words: str) -> str:
    answer = subprocess.run(
        ["git", "--no-optional-locks", "-C", ROOT, *words], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()


def _version(*names: str) -> str:
    """Return the version of the first of the packages that is installed."""
    for name in names:
        try:
            return f"{version(name)} ({name})"
        except PackageNotFoundError:
            continue
    return "none"

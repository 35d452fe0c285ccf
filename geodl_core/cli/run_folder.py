"""`geodl run FOLDER` and `geodl run ITEM ITEM …`: each by itself, one after the other."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodl_core.errors import GeodlError, UnavailableError

if TYPE_CHECKING:
    from geodl_core.engine.run_scene import RunResult

MOST_CLASSES = 4
"""Named in a line."""


def run_folder(folder: Path, model: str, options: dict[str, Any], is_json: bool) -> None:
    """Run a model over every raster of a folder; see `run_each`."""
    from geodl_core.io.scene.source import rasters_of

    run_each({path.name: str(path) for path in rasters_of(folder)}, "raster", model, options, is_json)


def run_each(sources: Mapping[str, str], kind: str, model: str, options: dict[str, Any], is_json: bool) -> None:
    """Run a model over several sources, and say in a line each what came of it.

    One that fails does not stop the others.

    Args:
        sources: what to call each → as `geodl run` takes it.
        kind: what one is called.
        model: as `--model` takes it.
        options: those of `geodl run`.
        is_json: print one JSON object instead.

    Raises:
        GeodlError: of the kind of the first failure that another try would not mend, else of the first.
    """
    from geodl_core.catalog.open import open_catalog
    from geodl_core.cli.job_options import places_of
    from geodl_core.cli.progress import RunProgress
    from geodl_core.cli.run import now, request_of, result_json
    from geodl_core.engine.run_scene import run_scene
    from geodl_core.service.jobs.read_job import read_itemless_job, with_item

    asked = read_itemless_job(model, options, places_of(options))
    results: list[dict[str, Any]] = []
    failures: dict[str, GeodlError] = {}
    with open_catalog(asked.catalog) as opened:
        for name, source in sources.items():
            try:
                request = request_of(with_item(asked, source), options)
                with RunProgress(is_quiet=is_json) as progress:
                    result = run_scene(request, opened, now, progress.listen)
            except GeodlError as error:
                failures[name] = error
                _say(f"failed    {name}: {error.message}", is_json)
            else:
                results.append(result_json(result, asked.catalog))
                _say(_line(name, result), is_json)
    if is_json:
        failed = [{kind.lower(): name, "error": error.message} for name, error in failures.items()]
        click.echo(json.dumps({"results": results, "failed": failed}))
    if failures:
        raise _failure(failures, f"{len(sources)} {kind}s")


def _say(line: str, is_json: bool) -> None:
    if not is_json:
        click.echo(line)


def _line(name: str, result: "RunResult") -> str:
    """Return what came of a source: its commonest classes, and where the class map or the objects lie."""
    from geodl_core.domain.result.result import main_asset

    asset, finds_objects = main_asset(result.item), "geodl:detections" in result.item["properties"]
    classes = [entry for entry in asset["classification:classes"] if entry["count"]]
    common = sorted(classes, key=lambda entry: -entry["percentage"])[:MOST_CLASSES]
    if finds_objects:
        said = ", ".join(f"{entry['count']:,} {entry['title']}" for entry in common) or "no objects"
    else:
        said = ", ".join(f"{entry['title']} {entry['percentage']:.1f} %" for entry in common) or "no valid pixel"
    state = "computed" if result.is_computed else "present"
    return f"{state:<9} {name}: {said}; {result.folder / Path(asset['href']).name}"


def _failure(failures: dict[str, GeodlError], count: str) -> GeodlError:
    errors = list(failures.values())
    worst = next((error for error in errors if not isinstance(error, UnavailableError)), errors[0])
    names = ", ".join(failures)
    return type(worst)(f"{len(failures)} of {count} failed: {names}", worst.hint)

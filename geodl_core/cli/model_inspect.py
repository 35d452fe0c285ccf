"""`geodl model inspect` and `geodl model validate`."""

import json

import click

from geodl_core.settings import Settings

_catalog = click.option("--catalog", metavar="PATH|URL", help="Of models given as NAME[@VERSION].")


@click.command("inspect", short_help="Show what a model is.")
@click.argument("model")
@_catalog
@click.option("--probe", is_flag=True, help="Run the network to find how far an answer reaches (some seconds).")
@click.option("--json", "is_json", is_flag=True, help="Print JSON, for machines.")
def inspect(model: str, catalog: str | None, probe: bool, is_json: bool) -> None:
    """Show what a model is: task, bands, tile, halo, classes, cost; how objects are found, or chips of them cut.

    MODEL is a .emd, a .dlpk, an EMD's JSON text, NAME[@VERSION], or an ONNX file alone.

    \b
    Examples:
      geodl model inspect landcover.emd
      geodl model inspect net.onnx --probe
    """
    from geodl_core.cli.model_card import card_of, print_card

    card = card_of(model, catalog or Settings.from_env().catalog, probe)
    if is_json:
        click.echo(json.dumps(card.lines | {"classes": card.classes, "notes": card.notes}, ensure_ascii=False))
    else:
        print_card(card)


@click.command("validate", short_help="Say whether a model serves, and what is wrong.")
@click.argument("model")
@_catalog
@click.option("--strict", is_flag=True, help="Refuse a definition that needs repairs.")
def validate(model: str, catalog: str | None, strict: bool) -> None:
    """Say whether a model can be run, what had to be repaired, and what is wrong, with lines and keys.

    The network is run once on the CPU. The exit code is 0 for a model that runs, else 2.

    \b
    Examples:
      geodl model validate from_arcgis.emd
      geodl model validate net.dlpk --strict
    """
    from geodl_core.domain.model.object_classifier import ObjectClassifier
    from geodl_core.engine.load_any import load_any, model_in
    from geodl_core.engine.load_model import REPAIRED
    from geodl_core.engine.require_running import require_running
    from geodl_core.service.jobs.model_source import open_package

    package = open_package(model, catalog or Settings.from_env().catalog, strict)
    for repair in package.repairs:
        click.echo(f"repaired  {repair}")
    loaded = load_any(package)
    found = model_in(loaded)
    for note in found.notes:
        if not note.startswith(REPAIRED):
            click.echo(f"note      {note}")
    require_running(package, loaded)
    what = "classification of objects, into" if isinstance(loaded, ObjectClassifier) else f"{found.output} of"
    click.echo(f"{model} runs: {what} {len(found.classes)} classes from {len(found.bands)} bands")

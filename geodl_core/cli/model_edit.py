"""`geodl model edit` and `geodl model pack`."""

import json
from pathlib import Path

import click

from geodl_core.errors import InputError, ModelError


@click.command("edit", short_help="Change keys of an EMD.")
@click.argument("emd", type=click.Path(path_type=Path))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Give a key a value (JSON or text).")
@click.option("--unset", "removed", multiple=True, metavar="KEY", help="Take a key away.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there.  [default: the same file]")
def edit(emd: Path, changes: tuple[str, ...], removed: tuple[str, ...], output: Path | None) -> None:
    """Change keys of an EMD and write it anew, repaired and in the usual order; unknown keys are kept.

    Without --set and --unset the definition is only repaired.

    \b
    Examples:
      geodl model edit net.emd --set Padding=48 --set ModelName=roads
      geodl model edit net.emd --set 'ExtractBands=["Red","Green","Blue"]' --unset BatchSize
      geodl model edit from_arcgis.emd -o repaired.emd
    """
    from geodl_core.cli.model_init import key_value
    from geodl_core.domain.emd.definition import Emd, read_emd
    from geodl_core.domain.emd.write import write_emd
    from geodl_core.io.store import write_bytes

    reading = read_emd(_content(emd), str(emd))
    document = {**reading.emd.model_dump(exclude_unset=True), **reading.placeholders}
    absent = [key for key in removed if key not in document]
    if absent:
        raise InputError(f"--unset {absent[0]}: {emd} has no such key, only {', '.join(document)}")
    given = dict(map(key_value, changes))
    if both := sorted(set(given) & set(removed)):
        raise InputError(f"--set and --unset: expected one of them for {both[0]}")
    document = {key: value for key, value in document.items() if key not in removed} | given
    changed = read_emd(json.dumps(document), "the changed definition")
    text = write_emd(changed.emd, changed.placeholders)
    target = output or emd
    write_bytes(target, text.encode())
    for repair in reading.repairs:
        click.echo(f"repaired  line {repair.line}: {repair.message}")
    for key in given:
        if key not in Emd.model_fields:
            click.echo(f"note      {key} is no key that geodl knows; it is kept and has no effect")
    if changed.placeholders:
        click.echo(f"open      still to be filled in: {', '.join(changed.placeholders)}")
    click.echo(f"wrote {target}")


@click.command("pack", short_help="Pack a model into a .dlpk.")
@click.argument("emd", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The package.  [default: EMD with .dlpk]")
@click.option("--force", is_flag=True, help="Replace a package that exists.")
def pack(emd: Path, output: Path | None, force: bool) -> None:
    """Pack an EMD and the files that it names into a .dlpk, which ArcGIS Pro opens too.

    \b
    Examples:
      geodl model pack net.emd
      geodl model pack net.emd -o share/roads.dlpk
    """
    from geodl_core.io.package.package import load_package
    from geodl_core.io.package.package_write import package_files, write_package

    target = output or emd.with_suffix(".dlpk")
    if target.exists() and not force:
        raise InputError(f"{target} exists", hint="--force replaces it")
    package = load_package(str(emd))
    text, files = package_files(package)
    write_package(target, text, files, emd.name)
    click.echo(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB)")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: expected a .emd, found no file that can be read") from error

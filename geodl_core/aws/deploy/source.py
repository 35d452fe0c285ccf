"""The checkout that is deployed: where it is, what its template asks for, whether it is what the repository has."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from geodl_core.errors import InputError

TEMPLATE = "template.yaml"
BUILD_LAYERS = Path("scripts") / "build-layers"
MOST_NAMED = 8
"""Files that a refusal names."""


@dataclass(frozen=True, slots=True)
class Source:
    """A checkout of the project."""

    folder: Path
    defaults: Mapping[str, str | None]
    """Parameter of the template → its default; None for one that has to be given."""

    @property
    def template(self) -> Path:
        return self.folder / TEMPLATE


class _Loader(yaml.SafeLoader):
    """Reads a template without knowing what `!Ref` and its like mean."""


_Loader.add_multi_constructor("!", lambda *_: None)


def find_source(start: Path, *, is_exact: bool = False) -> Source:
    """Return the checkout that a folder lies in.

    Args:
        start: the folder.
        is_exact: whether it must be the checkout itself, instead of lying in one.

    Raises:
        InputError: there is no template of geodl's, or it cannot be read.
    """
    folders = [start] if is_exact else [start, *start.parents]
    found = next((folder for folder in folders if (folder / TEMPLATE).is_file()), None)
    if found is None:
        place = start if is_exact else f"{start} or above it"
        raise InputError(
            f"expected a checkout of geodl with its {TEMPLATE}, found none in {place}",
            hint="git clone the project, and go into it or name it by --source",
        )
    return Source(found, _defaults(found / TEMPLATE))


def changed_files(folder: Path) -> list[str] | None:
    """Return the files of a git tree that are not as committed, None where there is no git tree (or no git).

    Raises:
        InputError: git does not tell.
    """
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(folder), "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "."]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if "not a git repository" in done.stderr:
            return None
        raise InputError(f"{folder}: git does not tell what was changed ({done.stderr.strip()[:200]})")
    return [entry[3:] for entry in done.stdout.split("\0") if entry]


def require_clean(folder: Path) -> bool:
    """Say whether a folder is known to be as committed; False where there is no git tree to tell by.

    Raises:
        InputError: it is not; names the files.
    """
    changed = changed_files(folder)
    if changed:
        named = ", ".join(changed[:MOST_NAMED])
        more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
        raise InputError(
            f"{folder}: expected all as committed, found changes in {named}{more}",
            hint="commit them, so that it is known what runs; --allow-dirty deploys them as they are",
        )
    return changed is not None


def parse_template(text: str) -> Any:
    """Return a template's document, None in place of all that CloudFormation's own tags mark.

    Raises:
        yaml.YAMLError: it is none.
    """
    # The loader is a safe one: it makes plain values alone.
    return yaml.load(text, _Loader)  # noqa: S506


def _defaults(template: Path) -> dict[str, str | None]:
    try:
        document = parse_template(template.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{template}: expected a template in YAML, found something else ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise InputError(f"{template}: expected a template of CloudFormation, found other YAML")
    parameters = document.get("Parameters") or {}
    return {
        str(name): _text(entry["Default"]) if "Default" in entry else None
        for name, entry in parameters.items()
        if isinstance(entry, dict)
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

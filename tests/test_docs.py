"""The documentation names every command and option, and shows no command that does not exist."""

import re
from pathlib import Path

import click
import pytest

from geodl_core.cli.main import geodl

ROOT = Path(__file__).parents[1]
REFERENCE = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("commands*.md")))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(group, path=()):
    """Return every command below a group: its words → the command."""
    found = {}
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        below = commands(command, (*path, name)) if isinstance(command, click.Group) else {(*path, name): command}
        found.update(below)
    return found


COMMANDS = commands(geodl)


def section_of(words):
    return REFERENCE.split(f"## geodl {' '.join(words)}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_documented(words):
    """The reference of commands has a section for each command that names each of its options."""
    section = section_of(words)
    for parameter in COMMANDS[words].params:
        if isinstance(parameter, click.Option):
            assert any(f"`{option}" in section for option in parameter.opts), parameter.opts


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_help_has_examples(words):
    """Each command's help shows how it is called."""
    assert "Examples:" in COMMANDS[words].help


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_exist(page):
    """Every `geodl …` line of a code block is a command with options that it has."""
    for line in re.findall(r"^ *(?:\$ )?geodl (.*)$", page.read_text(), flags=re.MULTILINE):
        words = line.split("#")[0].split()
        if words[0].startswith("-"):
            continue
        path = next(path for path in COMMANDS if tuple(words[: len(path)]) == path)
        known = {option for parameter in COMMANDS[path].params for option in parameter.opts} | {"--help"}
        used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Relative links of a page lead to files that exist."""
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target

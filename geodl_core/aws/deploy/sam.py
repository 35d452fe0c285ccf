"""The `sam` command line: builds the functions, uploads them, and lays a change set out, which it does not execute."""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geodl_core.aws.deploy.source import BUILD_LAYERS, Source
from geodl_core.errors import InputError

BUILT = Path("build") / "sam"
"""Where SAM puts what it builds, below the checkout."""
LAST_LINES = 25
"""Of a program that failed, that are shown."""
CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")
CHANGE_SET = re.compile(r"arn:aws[\w-]*:cloudformation:[\w-]+:\d+:changeSet/\S+")
NOTHING = ("No changes to deploy", "The submitted information didn't contain changes", "No updates are to be performed")
"""What is said where a stack is as the template wants it."""

Say = Callable[[str], None]
"""Takes lines for a person."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stack is to be."""

    stack: str
    parameters: Mapping[str, str]
    """Those that are set; others keep what they have, or their default."""
    tags: Mapping[str, str]
    repository: str
    """Any address of a repository in ECR: sam asks for one where a function is a container, and pushes nothing to it,
    as the template names containers by parameters."""


def find_sam() -> str:
    """Return the path of `sam`.

    Raises:
        InputError: it is not installed.
    """
    found = shutil.which("sam")
    if found is None:
        raise InputError(
            "expected the program sam (AWS SAM CLI), found none on PATH", hint="uv tool install aws-sam-cli brings it"
        )
    return found


def build(source: Source, sam: str, python: str, say: Say) -> None:
    """Build the layers that are missing or older than what they are made of, and the functions.

    Args:
        source: the checkout.
        sam: path of the program.
        python: interpreter for `scripts/build-layers`.
        say: takes what happens.

    Raises:
        InputError: one of the programs failed.
    """
    if (source.folder / BUILD_LAYERS).is_file():
        say("building the layers that are missing or stale")
        _run([python, str(BUILD_LAYERS)], source.folder, say)
    say("building the functions")
    _run([sam, "build", "--template-file", str(source.template), "--build-dir", str(BUILT)], source.folder, say)


def lay_out(source: Source, sam: str, wanted: Wanted, say: Say) -> str | None:
    """Upload what was built, and lay out what a deployment would change.

    Args:
        source: the checkout, built.
        sam: path of the program.
        wanted: what the stack is to be.
        say: takes what happens.

    Returns:
        ARN of the change set; None where nothing would change.

    Raises:
        InputError: nothing was built, or `sam` failed.
    """
    template = source.folder / BUILT / "template.yaml"
    if not template.is_file():
        raise InputError(f"{template}: expected what sam built, found nothing", hint="leave --no-build out")
    command = [sam, "deploy", "--template-file", str(template), "--stack-name", wanted.stack, "--resolve-s3"]
    command += ["--capabilities", *CAPABILITIES, "--no-execute-changeset", "--no-confirm-changeset"]
    command += ["--no-fail-on-empty-changeset", "--no-progressbar", "--image-repository", wanted.repository]
    if wanted.parameters:
        command += [
            "--parameter-overrides",
            *(f"{key}={_quoted(key, value)}" for key, value in wanted.parameters.items()),
        ]
    if wanted.tags:
        command += ["--tags", *(f"{key}={_quoted(key, value)}" for key, value in wanted.tags.items())]
    say("uploading, and asking CloudFormation what would change")
    said = _run(command, source.folder, say)
    found = CHANGE_SET.findall(said)
    if found:
        return str(found[-1])
    if any(text in said for text in NOTHING):
        return None
    _show(said, say)
    raise InputError("sam deploy: expected it to name its change set, found none in what it says")


def _run(command: Sequence[str], folder: Path, say: Say) -> str:
    """Run a program in a folder and return all that it says; where it fails, show the end of that.

    Raises:
        InputError: it failed.
    """
    # What belongs to one line of output may come from both streams: they are kept in one.
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = done.stdout.decode(errors="replace")
    if done.returncode and not any(text in said for text in NOTHING):
        # What `sam deploy` says before its reason is what it was asked.
        if command[1] != "deploy" or not _reason_line(said):
            _show(said, say)
        raise InputError(f"{_name(command)}: {_reason(said) or f'it ended with {done.returncode}'}")
    return said


def _show(said: str, say: Say) -> None:
    for line in said.splitlines()[-LAST_LINES:]:
        say(f"  {line.rstrip()}")


def _name(command: Sequence[str]) -> str:
    return " ".join(Path(word).name for word in command[:2])


def _reason(said: str) -> str:
    """Return why a program failed: what its last error says, else its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = _reason_line(said) or (lines[-1] if lines else "")
    # sam wraps CloudFormation's own reason into its waiter's words, or into those of the call.
    for words in ("Reason: ", " operation: "):
        _, separator, reason = told.partition(words)
        if separator:
            return reason
    return told.partition("rror:")[2].strip() or told


def _reason_line(said: str) -> str:
    """Return the last line that is an error's, empty where there is none."""
    lines = (line.strip() for line in reversed(said.splitlines()))
    return next((line for line in lines if line.startswith(("Error:", "error:"))), "")


def _quoted(key: str, value: str) -> str:
    r"""Return a value as sam reads it: in quotation marks, which are escaped within; it knows no escaped backslash.

    Raises:
        InputError: there is a backslash in it.
    """
    if "\\" in value:
        raise InputError(f"{key}: expected a value without backslashes, which sam cannot take, found {value[:80]!r}")
    return '"' + value.replace('"', '\\"') + '"'

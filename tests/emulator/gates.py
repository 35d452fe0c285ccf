"""What looks at a template without running it: `python -m emulator.gates`, which scripts/check-aws starts in the gates'
environment. Each gate is a function from a `Template` to its findings; no findings, and it is passed.

Findings that are meant are listed in a file of accepted ones, each with its reason; one that nothing finds any more is
a finding itself.
"""

import argparse
import copy
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOOLS = Path(sys.executable).parent
REGION = "us-east-1"
PACKAGES = ("CodeUri", "ContentUri", "DefinitionUri")


@dataclass(frozen=True, slots=True)
class Template:
    """A template, and what belongs to it."""

    path: Path
    dockerfiles: tuple[Path, ...]
    accepted: dict[str, dict[str, str]]
    """Gate → finding → the reason why it is meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a gate does not let pass."""

    name: str
    """How a list of accepted findings calls it."""
    text: str


def lint(template: Template) -> list[Finding]:
    """cfn-lint: the schemas of CloudFormation and SAM."""
    strict = ("--regions", REGION, "--non-zero-exit-code", "warning", "--format", "parseable")
    return _lines("cfn-lint", *strict, template.path)


def state_machines(template: Template) -> list[Finding]:
    """asl-validator: the definitions that the template names, which AWS would refuse only when it deploys."""
    program = TOOLS.parents[1] / "node" / "node_modules" / ".bin" / "asl-validator"
    found = []
    for name in definitions(load(template.path)):
        path = template.path.parent / name
        kind = "--json-path" if path.suffix == ".json" else "--yaml-path"
        found += [Finding(f"{name}: {one.name}", one.text) for one in _lines(program, kind, path)]
    return found


def rip(template: Template) -> list[Finding]:
    """CFRipper: roles and policies that allow too much, with all conditions true, and with all false."""
    import pycfmodel  # noqa: PLC0415
    from cfripper import cli  # noqa: PLC0415

    logging.disable(logging.CRITICAL)  # it names every resource type that it does not know
    found: dict[str, Finding] = {}
    for which in (True, False):
        # Its rules break on an Fn::If among statements, and what breaks would pass.
        document = pycfmodel.parse(decided(expanded(template.path), which))
        config, rules = cli.init_cfripper(None, None, None, None)
        result = cli.analyse_template(document, rules, config)
        broken = [Finding(f"crash {error}", "a rule of CFRipper broke") for error in result.exceptions]
        failures = [
            Finding(f"{one.rule} {resource}", one.reason)
            for one in result.failures
            for resource in sorted(one.resource_ids or {"-"})
        ]
        found.update((one.name, one) for one in [*broken, *failures])
    return list(found.values())


def guard(template: Template) -> list[Finding]:
    """CloudFormation Guard: the rules of the house, on each resource of the expanded template."""
    # The package's own reader of the report fails on rules with `or`, and a long report comes without its beginning:
    # hence the raw one, of one resource at a time.
    from cfn_guard_rs.cfn_guard_rs import run_checks_rs  # noqa: PLC0415

    rules, found = (HERE / "house.guard").read_text(), []
    for name, resource in expanded(template.path)["Resources"].items():
        text = run_checks_rs(json.dumps({"Resources": {name: resource}}), rules, False)
        try:
            broken = [one["Rule"] for one in json.loads(text)["not_compliant"]]
        except ValueError:
            found.append(Finding(f"unreadable {name}", "it breaks rules; the report is too long to say which"))
            continue
        found += [Finding(f"{rule['name']} {name}", "; ".join(sorted(set(_messages(rule))))) for rule in broken]
    return found


def checkov(template: Template) -> list[Finding]:
    """Checkov: practices of security, on the template and the Dockerfiles."""
    found = []
    places = [("cloudformation", template.path), *(("dockerfile", path) for path in template.dockerfiles)]
    for framework, path in places:
        quiet = ("--framework", framework, "--output", "json", "--skip-download", "--quiet")
        reports = json.loads(_run("checkov", "--file", path, *quiet).stdout)
        for report in reports if isinstance(reports, list) else [reports]:
            found += (report.get("results") or {}).get("failed_checks", [])
    return [Finding(one["check_id"], f"{one['resource']}: {one['check_name']}") for one in found]


def dockerfiles(template: Template) -> list[Finding]:
    """Hadolint: the Dockerfiles and the shell in them."""
    return [one for path in template.dockerfiles for one in _lines("hadolint", "--no-color", path)]


GATES: dict[str, Callable[[Template], list[Finding]]] = {
    "cfn-lint": lint,
    "asl-validator": state_machines,
    "cfripper": rip,
    "guard": guard,
    "checkov": checkov,
    "hadolint": dockerfiles,
}


def check(gate: str, template: Template) -> list[Finding]:
    """The findings of a gate that nobody accepted, and what was accepted without need."""
    accepted = template.accepted.get(gate, {})
    found = GATES[gate](template)
    needless = sorted(set(accepted) - {one.name for one in found})
    return [one for one in found if one.name not in accepted] + [
        Finding(name, "is accepted, but nothing finds it: strike it from the list") for name in needless
    ]


def load(path: Path) -> dict[str, Any]:
    """A template, its short intrinsics (`!Ref`) spelled out."""
    from samtranslator.yaml_helper import yaml_parse  # noqa: PLC0415

    return yaml_parse(path.read_text())


def definitions(document: dict[str, Any]) -> list[str]:
    """The files of the state machines that a template names."""
    properties = [one.get("Properties") or {} for one in document["Resources"].values()]
    return [one["DefinitionUri"] for one in properties if isinstance(one.get("DefinitionUri"), str)]


NOTHING = {"Ref": "AWS::NoValue"}


def decided(part: Any, which: bool) -> Any:
    """A template, or a part of one, as if all conditions were true, or all were false."""
    if isinstance(part, list):
        return [one for one in (decided(one, which) for one in part) if one != NOTHING]
    if not isinstance(part, dict):
        return part
    if set(part) == {"Fn::If"}:
        return decided(part["Fn::If"][1 if which else 2], which)
    held = {name: decided(one, which) for name, one in part.items()}
    return {name: one for name, one in held.items() if one != NOTHING}


def expanded(path: Path) -> dict[str, Any]:
    """The template as SAM expands it, with packages where a deployment would have put them."""
    from samtranslator.translator.transform import transform  # noqa: PLC0415

    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    document = load(path)
    places = [document.get("Globals", {}).get("Function", {})]
    places += [one.get("Properties") or {} for one in document["Resources"].values()]
    for place in places:
        for name in PACKAGES:
            if isinstance(place.get(name), str):
                place[name] = f"s3://packages/{place[name]}"
    return copy.deepcopy(transform(document, {}, _NoManagedPolicies()))


class _NoManagedPolicies:
    """Asked by SAM for the ARNs of AWS's policies by name: templates of the house name none."""

    def load(self) -> dict[str, str]:
        return {}


def _messages(report: Any) -> Iterator[str]:
    """What the author of a Guard rule says about its broken clauses, wherever they are in the report."""
    for one in report.values() if isinstance(report, dict) else report if isinstance(report, list) else ():
        yield from _messages(one)
    if isinstance(report, dict) and report.get("custom_message"):
        yield report["custom_message"]


def _lines(program: str | Path, *arguments: str | Path) -> list[Finding]:
    """A finding a line of a program that ends with an error; the lines are the names."""
    done = _run(program, *arguments)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return [Finding(line, "") for line in lines or ["it failed without a word"]] if done.returncode else []


def _run(program: str | Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = TOOLS / program  # an absolute program stays as it is
    environment = {"PATH": f"{TOOLS}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
    command = [str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def main() -> None:
    """Run the gates that the command line names, or all; end with 1 when there are findings."""
    reader = argparse.ArgumentParser(prog="check-aws", description="Look at a SAM template without running it.")
    reader.add_argument("template", type=Path)
    reader.add_argument("--gate", action="append", choices=list(GATES), help="only this one; may be repeated")
    reader.add_argument("--dockerfile", action="append", type=Path, default=[])
    reader.add_argument("--accepted", type=Path, help="JSON: gate -> finding -> reason")
    told = reader.parse_args()
    accepted = json.loads(told.accepted.read_text()) if told.accepted else {}
    template = Template(told.template, tuple(told.dockerfile), accepted)
    broken = False
    for gate in told.gate or GATES:
        found = check(gate, template)
        broken = broken or bool(found)
        print(f"{gate}: {'passed' if not found else f'{len(found)} findings'}")  # noqa: T201
        for one in found:
            print(f"  {one.name}{': ' if one.text else ''}{one.text}")  # noqa: T201
    raise SystemExit(broken)


if __name__ == "__main__":
    main()

"""What is needed to run geodl on a server: the composition of containers, the units of systemd.

Nothing here is started: there is no Docker where these tests run.
"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from geodl_core.cli.main import geodl

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
UNITS = sorted((ROOT / "infra" / "systemd").glob("*.service"))
TOP = {"name", "services", "networks", "volumes", "secrets", "configs"}
"""Keys of the Compose Specification, beside those that begin with x-: https://github.com/compose-spec/compose-spec."""
SERVICE = {
    "build",
    "cap_add",
    "cap_drop",
    "command",
    "depends_on",
    "deploy",
    "entrypoint",
    "environment",
    "healthcheck",
}
SERVICE |= {"image", "init", "logging", "networks", "ports", "read_only", "restart", "secrets", "security_opt"}
SERVICE |= {"shm_size", "stop_grace_period", "tmpfs", "user", "volumes"}
HEALTHCHECK = {"test", "interval", "timeout", "retries", "start_period"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
OURS = ("api", "worker", "catalog")


def parsed(words):
    """Parse a command line as geodl would, without running it."""
    command, arguments = geodl, list(words)
    while isinstance(command, click.Group):
        with click.Context(command) as context:
            name, command, arguments = command.resolve_command(context, arguments)
    with command.make_context(name, arguments) as context:
        return context.params


def test_the_composition_is_well_formed():
    """Only keys that the Compose Specification has, and only names that are defined."""
    assert {key for key in COMPOSE if not key.startswith("x-")} <= TOP
    services = COMPOSE["services"]
    assert set(services) == {"database", *OURS}
    for name, service in services.items():
        assert set(service) <= SERVICE, name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"]), name
        assert set(service.get("healthcheck", {})) <= HEALTHCHECK, name
        for other, how in service.get("depends_on", {}).items():
            assert (other in services, how["condition"] in CONDITIONS) == (True, True), name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], other


def test_containers_may_do_little():
    """None is privileged or may gain rights, roots are read-only, ours are not root, and only the API has a port."""
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert ("ports" in service) == (name == "api")
        assert "cap_add" not in service or name == "database"
    for name in OURS:
        assert COMPOSE["services"][name]["user"] == "10001:10001"
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"]["api"]["ports"])
    assert COMPOSE["networks"]["inside"]["internal"] is True


def test_the_password_is_in_a_file_alone():
    """No environment holds a secret, and what would is taken from the file that the composition names."""
    for name, service in COMPOSE["services"].items():
        for key, value in service["environment"].items():
            assert key.endswith("_FILE") or not re.search("password|secret|token", key, re.IGNORECASE), (name, key)
            assert not re.search(r"//[^/@]*:[^/@]*@", str(value)), (name, key)
    assert Path(COMPOSE["secrets"]["database_password"]["file"]).parent == Path("infra/secrets")
    ignored = subprocess.run(["git", "check-ignore", "infra/secrets/x"], cwd=ROOT, capture_output=True, check=False)
    assert ignored.returncode == 0


@pytest.mark.parametrize("name", OURS)
def test_containers_run_commands_that_exist(name):
    """Each container's command is one that geodl has, with options that it has; the shell before it passes it on."""
    service = COMPOSE["services"][name]
    assert parsed(service["command"]) is not None
    shell, flag, script, zero = service["entrypoint"]
    assert (shell, flag, zero) == ("/bin/sh", "-c", "geodl")
    script = script.replace("$$", "$").replace("/run/secrets/database_password", "/dev/null")
    script = script.replace("exec geodl", "exec printf '%s|'")
    said = subprocess.run([shell, flag, script, zero, "a b", "c"], capture_output=True, text=True, check=True)
    assert said.stdout == "a b|c|"


def test_the_server_of_the_composition_asks_for_tokens():
    """It listens beyond its container, so that it asks for tokens; its workers are containers of their own."""
    found = parsed(COMPOSE["services"]["api"]["command"])
    assert (found["host"], found["proxied"], found["workers"]) == ("0.0.0.0", True, 0)
    assert COMPOSE["services"]["api"]["ports"] == [f"127.0.0.1:{found['port']}:{found['port']}"]


def settings(unit):
    """Return (key, value) of each line of a unit, in order."""
    lines = unit.read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if "=" in line and not line.startswith("#")]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_run_commands_that_exist(unit):
    """A unit's command is one that geodl has, also with the options that it gives by default."""
    values = dict(settings(unit))
    program, *words = shlex.split(values["ExecStart"])
    assert program == "/opt/geodl/bin/geodl"
    given = dict(
        part.split("=", 1) for key, value in settings(unit) if key == "Environment" for part in [value.strip('"')]
    )
    filled = [part for word in words for part in (given[word[1:]].split() if word.startswith("$") else [word])]
    assert parsed(filled) is not None
    assert {"User": "geodl", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "KillMode": "mixed"}.items() <= (
        values.items()
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_right(unit, tmp_path):
    """systemd finds nothing wrong with the units, and little that they may do."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/geodl/bin/geodl", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", copy]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout[-300:]

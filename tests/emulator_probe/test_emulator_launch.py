"""Starting and stopping the emulator: the loopback only, nothing of the caller's environment, nothing left behind."""

import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aws_probe import Aws, eventually, invoke, is_alive, make_function, make_role, named

from emulator import launch

pytestmark = pytest.mark.aws
SLEEP = """
import os, subprocess

def handler(event, context):
    subprocess.Popen(["sleep", "300"])
    return {"pid": os.getpid(), "secret": os.environ.get("GEODL_TEST_SECRET")}
"""


@pytest.fixture(autouse=True)
def _able():
    if launch.state() is not True:
        pytest.skip(f"aws: {launch.state()}")


def by_hand(**variables):
    """What the emulator says when it is started by hand, and how it ends."""
    environment = {"PATH": os.defpath, "GATEWAY_PORT": "1", **variables}
    return subprocess.run(
        [launch.python("emulator"), "-m", "emulator"],
        cwd=launch.TESTS,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_it_refuses_to_be_reached_by_others(host):
    """BIND_HOST is the loopback, or nothing starts."""
    done = by_hand(BIND_HOST=host)
    assert done.returncode != 0
    assert f"BIND_HOST is {host}, which others can reach" in done.stderr


def test_it_refuses_images_that_it_cannot_read():
    """A map of images with an unknown key is an error that names it."""
    done = by_hand(EMULATOR_IMAGES='{"geodl:1": {"comand": []}}')
    assert done.returncode != 0
    assert "comand" in done.stderr


def test_it_refuses_another_ministack():
    """The version is asserted before anything is replaced."""
    code = "from emulator import version\nversion.EXPECTED = '0'\nversion.check()\n"
    command = [launch.python("emulator"), "-c", code]
    done = subprocess.run(command, cwd=launch.TESTS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "fits ministack 0, found 1.5.33" in done.stderr


def test_it_leaves_nothing_behind(monkeypatch):
    """Loopback only while it runs; afterwards port, log, functions, jobs and what they started are gone."""
    monkeypatch.setenv("GEODL_TEST_SECRET", "s3cret")
    images = {"geodl:*": {"entrypoint": ["/bin/sh", "-c"]}}
    with launch.running(launch.Setup(images=images)) as emulator:
        aws = Aws(emulator)
        told, _ = invoke(aws, make_function(aws, SLEEP, make_role(aws)), {})
        job = _running_job(aws)
        assert told["secret"] is None
        assert _listening(emulator.port) == {"0100007F"}
        assert b"s3cret" not in Path(f"/proc/{emulator.pid}/environ").read_bytes()
        before = {told["pid"], job, *launch._session(emulator.pid)}
        assert len(before) > 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", emulator.port), 5)
    eventually(lambda: not [pid for pid in before if is_alive(pid)], 5)
    assert not emulator.log.exists()


def test_more_calls_than_there_is_room_for_wait(tmp_path):
    """Six calls where two may run at once: all succeed, never more than two together."""
    code = (
        "import pathlib, time\n"
        f"log = pathlib.Path({str(tmp_path)!r}) / 'log'\n"
        "def handler(e, c):\n"
        "    for step in ('+', '-'):\n"
        "        with log.open('a') as out: out.write(step)\n"
        "        time.sleep(0.1)\n"
    )
    with launch.running(launch.Setup(functions=2)) as emulator:
        aws = Aws(emulator)
        function, client = make_function(aws, code, make_role(aws)), launch.client(emulator, "lambda")
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: client.invoke(FunctionName=function, Payload=b"{}"), range(6)))
    assert not [one for one in answers if "FunctionError" in one]
    steps = (tmp_path / "log").read_text()
    assert max(steps[:upto].count("+") - steps[:upto].count("-") for upto in range(len(steps) + 1)) <= 2
    assert len(steps) == 12


def test_a_failure_keeps_the_log():
    """What went wrong inside names the log, which stays; one that cannot start shows the end of it."""
    with pytest.raises(ValueError, match="own") as caught, launch.running(launch.Setup()) as emulator:
        raise ValueError("own")
    assert caught.value.__notes__ == [f"the emulator's log is {emulator.log}"]
    assert "MiniStack" in emulator.log.read_text()
    emulator.log.unlink()
    with pytest.raises(RuntimeError, match="no-number") as caught, launch.running(launch.Setup(gpus="no-number")):
        pass
    Path(caught.value.__notes__[0].rsplit(" ", 1)[1]).unlink()


def _running_job(aws):
    """The process of a job that runs."""
    environment = aws.batch.create_compute_environment(
        computeEnvironmentName=named("cpu"), type="MANAGED", serviceRole=make_role(aws)
    )["computeEnvironmentArn"]
    order = [{"order": 1, "computeEnvironment": environment}]
    queue = aws.batch.create_job_queue(jobQueueName=named("q"), priority=1, computeEnvironmentOrder=order)
    definition = aws.batch.register_job_definition(
        jobDefinitionName=named("sleep"),
        type="container",
        containerProperties={"image": "geodl:1", "command": ["sleep 300 & sleep 300"]},
    )
    job = aws.batch.submit_job(
        jobName="j", jobQueue=queue["jobQueueArn"], jobDefinition=definition["jobDefinitionArn"]
    )["jobId"]

    def process():
        (found,) = aws.batch.describe_jobs(jobs=[job])["jobs"]
        return found["container"].get("taskArn")

    return int(eventually(process).rsplit("/", 1)[1])


def _listening(port):
    """The addresses, as Linux spells them, on which somebody listens at a port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.split(":")[1], 16) == port:
                found.add(local.split(":")[0])
    return found

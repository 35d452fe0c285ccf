"""One attempt of a job of AWS Batch: a process of this machine in the place of a container.

Sources: Batch's guide ("Automated job retries", "Job timeouts", "Jobs: environment variables"), ECS's guide ("Stopped
tasks error codes").
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ministack.core import lambda_runtime
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch_logs

from emulator import scope
from emulator.batch_definitions import last_part
from emulator.batch_records import Job
from emulator.options import Image, Options, find_image

HOST_GONE = "Host EC2"
"""How the status reason begins when Spot takes the machine back."""
DEFAULT_GROUP = "/aws/batch/job"
MOST_LINE_CHARACTERS = 250_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended."""

    exit_code: int | None
    reason: str | None
    status_reason: str
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job."""

    job: Job
    number: int
    stream: str
    options: Options


def attempt(one: Attempt) -> Outcome:
    """Run the job's command to its end. Errors of starting it are outcomes, as on AWS."""
    container = one.job.container
    image = find_image(one.options.images, container["image"])
    if image is None:
        why = f"CannotPullContainerError: no local runtime is mapped for image {container['image']}"
        return Outcome(None, why, "Task failed to start")
    group = _log_group(container)
    if group is None:
        why = "ResourceInitializationError: failed to validate logger args: The specified log group does not exist"
        return Outcome(None, why, "Task failed to start")
    folder = Path(tempfile.mkdtemp(prefix="job-"))
    try:
        return _run(one, image, folder, group)
    except OSError as error:
        return Outcome(None, f"CannotStartContainerError: {error}", "Task failed to start")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen[bytes], after_s: float) -> None:
    """Ask the job's processes to end; kill them after a while."""
    _signal(process, signal.SIGTERM)
    killer = threading.Timer(after_s, _signal, (process, signal.SIGKILL))
    killer.daemon = True
    killer.start()


def _run(one: Attempt, image: Image, folder: Path, group: str) -> Outcome:
    job, limit_s = one.job, one.job.record["timeout"].get("attemptDurationSeconds")
    process = subprocess.Popen(
        [*image.entrypoint, *job.container["command"]],
        cwd=image.cwd or folder,
        env=_environment(one, image, folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    job.process = process
    # Tests that play the host read the process's number here; on AWS it is the ECS task's.
    job.container["taskArn"] = f"arn:aws:ecs:{get_region()}:{get_account_id()}:task/{process.pid}"
    job.record["status"] = "RUNNING"
    if job.stopped is not None:
        stop(process, one.options.stop_s)
    logs = scope.start(_pump, process, group, one.stream)
    timed_out = False
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        stop(process, one.options.stop_s)
        process.wait()
    _signal(process, signal.SIGKILL)  # what it left behind goes with the container
    logs.join()
    job.process = None
    return _outcome(process.returncode, job.stopped, timed_out)


def _outcome(code: int, stopped: str | None, timed_out: bool) -> Outcome:
    shown = 128 - code if code < 0 else code
    if timed_out:
        return Outcome(shown, None, "Job attempt duration exceeded timeout", timed_out=True)
    if stopped is not None and stopped.startswith(HOST_GONE):
        return Outcome(None, None, stopped)
    if stopped is None and shown == 128 + signal.SIGTERM:
        return Outcome(None, None, f"{HOST_GONE} (instance i-0emulated) terminated.")
    if stopped is None and shown == 128 + signal.SIGKILL:
        return Outcome(
            shown, "OutOfMemoryError: Container killed due to memory usage", "Essential container in task exited"
        )
    return Outcome(shown, None, "Essential container in task exited")


def _environment(one: Attempt, image: Image, folder: Path) -> dict[str, str]:
    record, container, queue = one.job.record, one.job.container, last_part(one.job.record["jobQueue"])
    order = one.job.queue.get("computeEnvironmentOrder") or [{"computeEnvironment": queue}]
    role = {
        "FunctionArn": f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{record['jobId']}",
        "FunctionName": record["jobId"].replace(":", "-"),
        "Role": container.get("jobRoleArn", ""),
    }
    index = {"AWS_BATCH_JOB_ARRAY_INDEX": record["jobId"].rsplit(":", 1)[1]} if one.job.parent else {}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        **image.env,
        **{entry["name"]: entry["value"] for entry in container["environment"]},
        "AWS_ENDPOINT_URL": one.options.endpoint,
        "AWS_REGION": get_region(),
        "AWS_DEFAULT_REGION": get_region(),
        "AWS_BATCH_JOB_ID": record["jobId"],
        "AWS_BATCH_JOB_ATTEMPT": str(one.number),
        "AWS_BATCH_JQ_NAME": queue,
        "AWS_BATCH_CE_NAME": last_part(order[0]["computeEnvironment"]),
        **index,
        **lambda_runtime.execution_credentials(role),
    }


def _log_group(container: dict) -> str | None:
    """The log group, which Batch makes where it is its own; None where it does not exist."""
    group = (container["logConfiguration"].get("options") or {}).get("awslogs-group")
    if group is None:
        cloudwatch_logs._create_log_group({"logGroupName": DEFAULT_GROUP})
        return DEFAULT_GROUP
    return group if group in cloudwatch_logs._log_groups else None


def _pump(process: subprocess.Popen[bytes], group: str, stream: str) -> None:
    names = {"logGroupName": group, "logStreamName": stream}
    cloudwatch_logs._create_log_stream(names)
    for line in process.stdout:
        message = line.decode(errors="replace").rstrip("\r\n")[:MOST_LINE_CHARACTERS]
        if message:
            event = {"timestamp": int(time.time() * 1000), "message": message}
            cloudwatch_logs._put_log_events({**names, "logEvents": [event]})
    process.stdout.close()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):  # all of the group have ended
        os.killpg(process.pid, number)

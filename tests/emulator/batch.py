"""AWS Batch: jobs really run, in their order, with retries. MiniStack's own jobs succeed at once and run nothing.

Sources: Batch's API reference and guide ("Job states", "Automated job retries", "Array jobs", "Job dependencies").
"""

import atexit
import contextvars
import itertools
import signal
import threading
import uuid
from collections import Counter

from ministack.services import batch

from emulator import batch_definitions, batch_process, batch_records, scope
from emulator.batch_definitions import Refused, last_part, refused
from emulator.batch_process import HOST_GONE, Attempt, Outcome
from emulator.batch_records import Job
from emulator.batch_slots import Slots
from emulator.options import Options

OVER = ("SUCCEEDED", "FAILED")
_live: dict[str, Job] = {}
_lock = threading.RLock()
_numbers = itertools.count()
_machine: list[tuple[Options, Slots]] = []


def install(options: Options) -> None:
    """Put these actions in the place of MiniStack's."""
    _machine[:] = [(options, Slots(options.vcpus, options.gpus))]
    batch._DISPATCH.update(
        {
            "/v1/canceljob": cancel,
            "/v1/createjobqueue": batch_definitions.create_queue,
            "/v1/createschedulingpolicy": batch_definitions.create_policy,
            "/v1/deregisterjobdefinition": batch_definitions.deregister,
            "/v1/registerjobdefinition": batch_definitions.register,
            "/v1/submitjob": submit,
            "/v1/terminatejob": terminate,
            "/v1/updatejobqueue": batch_definitions.update_queue,
        }
    )
    atexit.register(_kill_all)


def submit(request):
    """SubmitJob."""
    try:
        definition = batch_records.check(request)
    except Refused as error:
        return refused(error)
    size = (request.get("arrayProperties") or {}).get("size")
    job_id = str(uuid.uuid4())
    job = Job(batch_records.make(request, definition, job_id))
    for index in range(int(size or 0)):
        child = Job(batch_records.make(request, definition, f"{job_id}:{index}"), parent=job)
        job.children.append(child)
    if size:
        job.record["arrayProperties"] = {"size": int(size), "statusSummary": {"PENDING": int(size)}}
    with _lock:
        for one in (job, *job.children):
            batch._jobs[one.record["jobId"]] = one.record
            _live[one.record["jobId"]] = one
            one.record["status"] = "PENDING"
            if not one.children:
                one.ticket = batch_records.ticket(one, next(_numbers), _starter(one))
        for one in job.children or [job]:
            _advance(one)
    shown = ("jobId", "jobName", "jobArn")
    return batch._json(200, {name: job.record[name] for name in shown})


def terminate(request):
    """TerminateJob: stops what runs, drops what waits. A reason like "Host EC2…" plays the host that goes."""
    _stop(request.get("jobId"), request.get("reason") or "Terminated", running=True)
    return batch._json(200, {})


def cancel(request):
    """CancelJob: drops what waits and leaves what runs."""
    _stop(request.get("jobId"), request.get("reason") or "Cancelled", running=False)
    return batch._json(200, {})


def _stop(job_id, reason, running):
    with _lock:
        job = _live.get(job_id)
        for one in (job.children or [job]) if job else ():
            if one.process is not None and running:
                one.stopped = reason
                batch_process.stop(one.process, _machine[0][0].stop_s)
            elif _machine[0][1].leave(one.ticket.number) or one.record["status"] == "PENDING":
                _end(one, "FAILED", reason)
            elif running:
                one.stopped = reason  # it is about to start


def _starter(job):
    """What the slots call when the job's turn has come: back in its account and region, in a thread of its own."""
    snapshot = contextvars.copy_context()
    return lambda: snapshot.copy().run(scope.start, _attempt, job)


def _advance(job):
    """Let a job wait for its slots when those are over that it depends on."""
    if job.record["status"] != "PENDING":
        return
    before = [batch._jobs.get(one.get("jobId"), {"status": "SUCCEEDED"})["status"] for one in job.record["dependsOn"]]
    if "FAILED" in before:
        _end(job, "FAILED", "Dependent Job failed")
    elif all(status in OVER for status in before):
        job.record["status"] = "RUNNABLE"
        _machine[0][1].wait(job.ticket)


def _attempt(job):
    options, slots = _machine[0]
    record, started = job.record, batch._now_ms()
    record["status"] = "STARTING"
    record.setdefault("startedAt", started)
    prefix = (job.container["logConfiguration"].get("options") or {}).get("awslogs-stream-prefix")
    definition = last_part(record["jobDefinition"]).partition(":")[0]
    stream = f"{(prefix or definition)[:200]}/default/{uuid.uuid4().hex}"
    try:
        outcome = batch_process.attempt(Attempt(job, len(record["attempts"]) + 1, stream, options))
    finally:
        slots.release(job.ticket)
    with _lock:
        _note(job, outcome, {"startedAt": started, "stoppedAt": batch._now_ms()}, stream)
        _after(job, outcome)


def _note(job, outcome, times, stream):
    shown = {"logStreamName": stream, "exitCode": outcome.exit_code, "reason": outcome.reason}
    shown = {name: value for name, value in shown.items() if value is not None}
    for name in ("exitCode", "reason"):
        job.container.pop(name, None)
    job.container.update(shown)
    tasks = {"taskProperties": [{"containers": [shown]}]} if "ecsProperties" in job.record else {"container": shown}
    job.record["attempts"].append({**tasks, **times, "statusReason": outcome.status_reason})


def _after(job, outcome):
    strategy, done = job.record["retryStrategy"], len(job.record["attempts"])
    if outcome.exit_code == 0 and not outcome.timed_out:
        _end(job, "SUCCEEDED", outcome.status_reason)
    elif job.stopped is not None and not job.stopped.startswith(HOST_GONE):
        _end(job, "FAILED", job.stopped)
    elif outcome.timed_out or done >= int(strategy.get("attempts", 1)) or not is_retried(strategy, outcome):
        _end(job, "FAILED", outcome.status_reason)
    else:
        job.stopped = None
        job.record.update(status="RUNNABLE", statusReason=outcome.status_reason)
        _machine[0][1].wait(job.ticket)


def is_retried(strategy: dict, outcome: Outcome) -> bool:
    """What evaluateOnExit says: the first condition of which all parts match decides; without one, retry."""
    found = {"onExitCode": outcome.exit_code, "onReason": outcome.reason, "onStatusReason": outcome.status_reason}
    texts = {name: "" if value is None else str(value) for name, value in found.items()}
    for condition in strategy.get("evaluateOnExit") or []:
        parts = [(texts[name], condition[name]) for name in texts if condition.get(name) is not None]
        if all(text.startswith(glob[:-1]) if glob.endswith("*") else text == glob for text, glob in parts):
            return condition["action"].upper() == "RETRY"
    return True


def _end(job, status, reason):
    job.record.update(status=status, statusReason=reason, stoppedAt=batch._now_ms())
    _live.pop(job.record["jobId"], None)
    parent = job.parent
    if parent is not None:
        counts = Counter(child.record["status"] for child in parent.children)
        parent.record["arrayProperties"]["statusSummary"] = dict(counts)
        if all(child.record["status"] in OVER for child in parent.children):
            _end(parent, "FAILED" if counts.get("FAILED") else "SUCCEEDED", "")
    for waiting in [one for one in _live.values() if one.record["dependsOn"] and not one.children]:
        _advance(waiting)


def _kill_all():
    for job in list(_live.values()):
        if job.process is not None:
            batch_process._signal(job.process, signal.SIGKILL)

"""Step Functions: Batch jobs as tasks, and the rules that MiniStack leaves out: heartbeats, the limit of 256 KiB, a
second start of an execution that is the first one.

Sources: Step Functions' guide ("Run AWS Batch workloads", "Service integration patterns", "Service quotas",
"Handling errors"), its API reference (StartExecution).
"""

import contextvars
import json
import threading
import time

from ministack.core.responses import get_account_id, get_region
from ministack.services import batch, stepfunctions

from emulator import batch as jobs
from emulator import scope
from emulator.batch_names import camel, pascal
from emulator.options import LIMIT_BYTES, Options

POLL_S = 0.05
_execution = contextvars.ContextVar("execution", default=None)
"""The execution that a task runs for."""
_timed_out = contextvars.ContextVar("timed_out", default=None)
"""Set when a task's TimeoutSeconds are over: nobody waits for it any more."""


def install(options: Options) -> None:
    """Put these parts in the place of MiniStack's."""
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::batch:submitJob"] = submit_job
    stepfunctions._execute_task = _limited(stepfunctions._execute_task)
    stepfunctions._invoke_resource_with_timeout = _noticed(stepfunctions._invoke_resource_with_timeout)
    stepfunctions._invoke_with_callback = _watched(stepfunctions._invoke_with_callback)
    stepfunctions._start_execution = _started_once(stepfunctions._start_execution)


def submit_job(resource: str, data: dict) -> dict:
    """`batch:submitJob`, and `.sync`, which waits and fails with the job as its cause.

    A job whose execution has ended, or whose task is out of time, is terminated, as on AWS.

    Raises:
        _ExecutionError: the request is refused, or the job failed.
    """
    status, _, body = jobs.submit(camel(data or {}))
    answer = json.loads(body)
    if status >= 400:
        raise stepfunctions._ExecutionError("Batch.ClientException", answer.get("message", ""))
    if not resource.endswith(".sync"):
        return pascal(answer)
    record = batch._jobs[answer["jobId"]]
    while record["status"] not in jobs.OVER:
        time.sleep(POLL_S)
        if _is_given_up():
            jobs.terminate({"jobId": record["jobId"], "reason": "Terminated by Step Functions"})
            break
    detail = pascal(record)
    if record["status"] != "SUCCEEDED":
        raise stepfunctions._ExecutionError("States.TaskFailed", json.dumps(detail))
    return detail


def refuse_large(value: object, what: str) -> None:
    """Hold input or output to the service's limit.

    Raises:
        _ExecutionError: States.DataLimitExceeded.
    """
    if len(json.dumps(value).encode()) > LIMIT_BYTES:
        cause = f"{what} with a size exceeding the maximum number of bytes service limit."
        raise stepfunctions._ExecutionError("States.DataLimitExceeded", cause)


def _is_given_up():
    execution, timed_out = _execution.get(), _timed_out.get()
    return (execution is not None and execution["status"] != "RUNNING") or (
        timed_out is not None and timed_out.is_set()
    )


def _limited(execute):
    def task(state, raw_input, execution, ctx):
        token = _execution.set(execution)
        try:
            output, following = execute(state, raw_input, execution, ctx)
        finally:
            _execution.reset(token)
        refuse_large(output, f"The state/task '{ctx['State']['Name']}' returned a result")
        return output, following

    return task


def _noticed(invoke):
    def invoke_with_timeout(resource, data, timeout_s):
        over = threading.Event()
        token = _timed_out.set(over)
        try:
            return invoke(resource, data, timeout_s)
        except stepfunctions._ExecutionError as error:
            if error.error == "States.Timeout":
                over.set()
            raise
        finally:
            _timed_out.reset(token)

    return invoke_with_timeout


def _watched(invoke):
    def invoke_with_callback(resource, data, token, state):
        if state.get("HeartbeatSeconds"):
            scope.start(_watch, token, float(state["HeartbeatSeconds"]))
        return invoke(resource, data, token, state)

    return invoke_with_callback


def _watch(token, most_s):
    """End a task with States.HeartbeatTimeout when its worker is silent for too long."""
    seen, last = None, time.monotonic()
    while time.monotonic() - last <= most_s:
        time.sleep(min(0.2, most_s / 5))
        info = stepfunctions._task_tokens.get(token)
        if info is not None:
            if info["event"].is_set():
                return
            if info["heartbeat"] != seen:
                seen, last = info["heartbeat"], time.monotonic()
    if info is not None:
        info["error"] = {"Error": "States.HeartbeatTimeout", "Cause": ""}
        info["event"].set()


def _started_once(start):
    def start_execution(data):
        found = _same_execution(data)
        if found is not None:
            shown = {name: found[name] for name in ("executionArn", "startDate")}
            return stepfunctions.json_response(shown)
        if len(data.get("input", "{}").encode()) > LIMIT_BYTES:
            message = f"Invalid input: longer than {LIMIT_BYTES} bytes"
            return stepfunctions.error_response_json("ValidationException", message, 400)
        return start(data)

    return start_execution


def _same_execution(data):
    """The execution of the name that runs already with this very input."""
    machine = stepfunctions._resolve_state_machine_arn(data.get("stateMachineArn", "").split("#")[0])
    if not machine or not data.get("name"):
        return None
    name = stepfunctions._state_machines[machine]["name"]
    arn = f"arn:aws:states:{get_region()}:{get_account_id()}:execution:{name}:{data['name']}"
    found = stepfunctions._executions.get(arn)
    same = found is not None and found["status"] == "RUNNING" and found["input"] == data.get("input", "{}")
    return found if same else None

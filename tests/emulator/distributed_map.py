"""Step Functions' Distributed Map, whole: a reader, batches, selectors, children as executions of their own,
thresholds, a writer; in JSONPath and JSONata. MiniStack's ignores batches and writers.

Sources: Step Functions' guide ("Map state in Distributed mode", "ItemReader", "ItemBatcher", "ItemSelector",
"Setting failure thresholds", "Map Runs"), its API reference (DescribeMapRun).
"""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from ministack.core.responses import new_uuid, now_iso
from ministack.services import stepfunctions

from emulator import map_items, result_writer, scope
from emulator.map_items import Child, Place, number
from emulator.options import Options
from emulator.state_machines import refuse_large

MOST_THREADS = 64
"""Children that run at once, where AWS runs up to 10,000."""
POLL_S = 0.25
COUNTS = (
    "pending", "running", "succeeded", "failed", "timedOut", "aborted", "total", "resultsWritten",
    "failuresNotRedrivable", "pendingRedrive",
)  # fmt: skip


class MapRun:
    """A Map Run: what DescribeMapRun shows, and the children."""

    def __init__(self, place: Place, children: list[Child]) -> None:
        _, _, _, region, account, _, name = place.execution["stateMachineArn"].split(":")[:7]
        label = place.state.get("Label") or new_uuid()[:8]
        self.place, self.children = place, children
        self.id = new_uuid()
        self.arns = {
            kind: f"arn:aws:states:{region}:{account}:{kind}:{name}/{label}" for kind in ("stateMachine", "execution")
        }
        self.arn = f"arn:aws:states:{region}:{account}:mapRun:{name}/{label}:{self.id}"
        self.records: list[dict[str, Any] | None] = [None] * len(children)
        self.outputs: list[Any] = [None] * len(children)
        self.lock, self.over = threading.Lock(), threading.Event()
        tolerated = ("ToleratedFailureCount", "ToleratedFailurePercentage")
        self.limits = [name for name in tolerated if number(place, name) is not None]
        items = sum(child.weight for child in children)
        zero = dict.fromkeys(COUNTS, 0)
        self.shown = {
            "mapRunArn": self.arn,
            "executionArn": place.execution["executionArn"],
            "status": "RUNNING",
            "startDate": now_iso(),
            "maxConcurrency": int(number(place, "MaxConcurrency") or 0),
            "toleratedFailurePercentage": float(number(place, "ToleratedFailurePercentage") or 0),
            "toleratedFailureCount": int(number(place, "ToleratedFailureCount") or 0),
            "itemCounts": {**zero, "total": items, "pending": items},
            "executionCounts": {**zero, "total": len(children), "pending": len(children)},
            "redriveCount": 0,
            "_stateMachineArn": self.arns["stateMachine"],
        }

    def move(self, index: int, before: str, after: str) -> None:
        """Count a child and its items in another state."""
        with self.lock:
            for name, weight in (("itemCounts", self.children[index].weight), ("executionCounts", 1)):
                self.shown[name][before] -= weight
                self.shown[name][after] += weight

    def is_failed(self) -> bool:
        """Whether more items failed than the state tolerates: none, unless it says so."""
        failed, total = self.shown["itemCounts"]["failed"], self.shown["itemCounts"]["total"]
        over = {
            "ToleratedFailureCount": failed > self.shown["toleratedFailureCount"],
            "ToleratedFailurePercentage": failed * 100 > self.shown["toleratedFailurePercentage"] * total,
        }
        return failed > 0 and (not self.limits or any(over[name] for name in self.limits))

    def stop(self) -> None:
        """Start no more children, and let those that run know."""
        self.over.set()
        with self.lock:
            for record in self.records:
                if record is not None and record["status"] == "RUNNING":
                    record["status"] = "ABORTED"


def install(options: Options) -> None:
    """Put this map in the place of MiniStack's."""
    stepfunctions._run_distributed_map = run


def run(state, raw_input, effective, iterator, execution, ctx):
    """Run the state to its end and give its output and the state that follows, as MiniStack's own function does.

    Raises:
        _ExecutionError: the input is no array, too many children failed, a result is too large or cannot be written.
    """
    place = Place(state, raw_input, effective, execution, ctx)
    children = map_items.children(place)
    for child in children:
        refuse_large(child.input, "A child workflow was given an input")
    map_run = MapRun(place, children)
    stepfunctions._map_runs[map_run.arn] = map_run.shown
    _run_children(map_run, iterator)
    aborted = execution["status"] != "RUNNING"
    result = result_writer.write(map_run)
    failed = map_run.is_failed()
    map_run.shown.update(status="ABORTED" if aborted else "FAILED" if failed else "SUCCEEDED", stopDate=now_iso())
    if failed:
        cause = "The specified tolerated failure threshold was exceeded"
        raise stepfunctions._ExecutionError("States.ExceedToleratedFailureThreshold", cause)
    refuse_large(result, "The Map Run returned a result")
    return _output(place, result), stepfunctions._next_or_end(state)


def _run_children(map_run, iterator):
    most = map_run.shown["maxConcurrency"] or len(map_run.children)
    with ThreadPoolExecutor(max_workers=max(1, min(most, MOST_THREADS))) as pool:
        waiting = {pool.submit(scope.bound(_child), map_run, iterator, index) for index in range(len(map_run.children))}
        while waiting:
            _, waiting = wait(waiting, timeout=POLL_S)
            if map_run.place.execution["status"] != "RUNNING":
                map_run.stop()


def _child(map_run, iterator, index):
    execution = map_run.place.execution
    if map_run.over.is_set() or execution["status"] != "RUNNING":
        map_run.stop()
        map_run.move(index, "pending", "aborted")
        return
    record = _record(map_run, index)
    map_run.records[index] = record
    stepfunctions._executions[record["executionArn"]] = record
    map_run.move(index, "pending", "running")
    ctx = {**map_run.place.ctx, "variables": {}}
    ctx["Execution"] = {
        "Id": record["executionArn"],
        "Input": map_run.children[index].input,
        "Name": record["name"],
        "StartTime": record["startDate"],
    }
    if iterator.get("QueryLanguage"):
        ctx["QueryLanguage"] = iterator["QueryLanguage"]
    end = _outcome(map_run, iterator, index, ctx)
    record["stopDate"] = now_iso()
    map_run.move(index, "running", end)
    if map_run.is_failed():
        map_run.stop()


def _outcome(map_run, iterator, index, ctx):
    """Run a child to its end, note how it ended in its record, and say so in a word."""
    record, child = map_run.records[index], map_run.children[index]
    try:
        output = stepfunctions._run_sub_machine(iterator["States"], iterator["StartAt"], child.input, record, ctx)
    except Exception as error:  # noqa: BLE001  # whatever MiniStack raises is the child's failure, not the run's
        if record["status"] == "ABORTED":
            return "aborted"
        known = isinstance(error, stepfunctions._ExecutionError)
        named = error if known else stepfunctions._ExecutionError("States.Runtime", repr(error))
        record.update(status="FAILED", error=named.error, cause=named.cause)
        return "failed"
    map_run.outputs[index] = output
    record.update(status="SUCCEEDED", output=result_writer.dump(output))
    return "succeeded"


def _record(map_run, index):
    name = new_uuid()
    return {
        "executionArn": f"{map_run.arns['execution']}:{name}",
        "stateMachineArn": map_run.arns["stateMachine"],
        "name": name,
        "status": "RUNNING",
        "startDate": now_iso(),
        "stopDate": None,
        "input": result_writer.dump(map_run.children[index].input),
        "inputDetails": {"included": True},
        "output": None,
        "outputDetails": {"included": True},
        "mapRunArn": map_run.arn,
        "events": [],
        "testCase": map_run.place.execution.get("testCase", ""),
        "mockAttempts": {},
    }


def _output(place, result):
    state, raw_input, ctx = place.state, place.raw_input, place.ctx
    if place.is_jsonata:
        output = stepfunctions._apply_jsonata_output(state, raw_input, ctx, result=result, default=result)
        stepfunctions._apply_state_assign(state, raw_input, ctx, result=result)
        return output
    selected = stepfunctions._apply_result_selector(state, result)
    merged = stepfunctions._apply_result_path(state, raw_input, selected)
    return stepfunctions._apply_output_path(state, merged, ctx)

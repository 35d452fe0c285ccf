"""`geodl runs` of a deployment: listed, shown, cancelled, retried; and what looks at this machine says so."""

import json
from dataclasses import dataclass, replace

import pytest
from botocore.exceptions import ClientError

from cloud import make_table
from commands import geodl_here
from geodl_core.aws.ledger.ledger import cloud_history, move_run, read_run
from geodl_core.aws.operate.stack_runs import StackRuns
from geodl_core.aws.site.cancel_run import cancel_cloud_run
from geodl_core.aws.site.executions import describe
from geodl_core.aws.steps.ingest import take_order
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.run.options import RunOptions
from geodl_core.domain.run.order import Order
from geodl_core.errors import UnavailableError
from geodl_core.service.ledger.runs import RunFilter
from geodl_core.service.runs.access import LocalRuns, chosen_runs
from ledgers import place
from stacks import stack_of
from watched import opened

ERROR = {"class": "DataError", "message": "a.tif: block 3,4 cannot be decoded"}


@dataclass
class Stacked:
    """A deployment with its stack."""

    cloud: object
    name: str

    def runs(self, *words):
        return geodl_here("runs", *words, "--stack", self.name)

    def told(self, *words):
        return json.loads(ok(self.runs(*words, "--json")))

    def status(self, run_id):
        return describe(self.cloud.deployment, read_run(self.cloud.ledger, run_id)).status


@pytest.fixture
def stacked(cloud):
    return Stacked(cloud, stack_of(cloud))


def ok(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def run(cloud, name="scene", *states, watch="fields", model="water@0123456789abcdef", **facts):
    """Order a run, which starts, and bring it through states."""
    image = {"href": "https://h/a.tif"}
    item = {"type": "Feature", "id": name, "collection": "scenes", "properties": {}, "assets": {"image": image}}
    wanted = Order(item, model, watch=watch, collection="lakes", options=RunOptions(radiometry="raw"), depth=1)
    run_id = take_order(cloud.deployment, wanted, None).run_id
    for state in states:
        move_run(cloud.ledger, run_id, state, state, **(facts if state == states[-1] else {}))
    return run_id


@pytest.fixture
def some(stacked):
    """Runs in several states, by their Items."""
    cloud = stacked.cloud
    result = {"collection": "lakes", "id": "done_water"}
    return {
        "done": run(cloud, "done", "running", "succeeded", job_id="a" * 64, shards=2, tiles=9, result=result),
        "bad": run(cloud, "bad", "running", "failed", error=ERROR),
        "going": run(cloud, "going", "running", watch="other", job_id="b" * 64, shards=1, tiles=4),
        "waiting": run(cloud, "waiting", model="fire@fedcba9876543210"),
    }


def items(found):
    return [facts["item"]["id"] for facts in found]


def test_runs_of_a_deployment_are_listed(stacked, some):
    """The one that changed last comes first, in the table of one machine; what is not counted is left empty."""
    lines = ok(stacked.runs("list")).strip().splitlines()
    assert lines[0].split() == ["run", "state", "age", "watch", "item", "model", "done", "error"]
    assert [line.split()[0] for line in lines[2:6]] == [some[name][:8] for name in ("waiting", "going", "bad", "done")]
    assert "100 %" in lines[5]
    assert "%" not in lines[3]
    assert ERROR["message"] in lines[4]
    assert lines[-1] == "4 runs"


def test_what_is_listed_is_chosen(stacked, some):
    """Options and filters choose as on one machine, and a limit holds."""
    assert items(stacked.told("list", "--state", "failed", "--state", "succeeded")) == ["bad", "done"]
    assert items(stacked.told("list", "--watch", "other")) == ["going"]
    assert items(stacked.told("list", "--model", "fire")) == ["waiting"]
    assert items(stacked.told("list", "--model", "wat")) == []
    assert items(stacked.told("list", "--item", "scenes/bad")) == ["bad"]
    assert items(stacked.told("list", "--limit", "3")) == ["waiting", "going", "bad"]
    assert items(stacked.told("list", "--where", "error_class = 'DataError'")) == ["bad"]
    assert items(stacked.told("list", "--where", "progress < 50")) == ["waiting", "bad"]
    assert ok(stacked.runs("list", "--since", "2100-01-01")) == "no runs\n"


def test_facts_have_the_form_of_one_machine(stacked, some, tmp_path):
    """The same members in the same order; what only the bucket or the history has is told of a single run."""
    with opened(tmp_path) as services:
        place(services.ledger, "scene")
        local = LocalRuns(services.ledger)
        (here,) = local.page(RunFilter()).runs
        event = local.history(here["id"])[0]
    listed = stacked.told("list", "--item", "scenes/done")[0]
    assert [*listed] == [*here]
    assert (listed["options"], listed["collection"], listed["started"]) == (None, None, None)
    assert (listed["tiles"], listed["tiles_done"], listed["finished"]) == (9, 9, listed["updated"])
    assert listed["result"] == {"collection": "lakes", "id": "done_water"}
    shown = stacked.told("show", some["done"][:8])
    assert [*shown] == [*here, "history"]
    assert [*shown["history"][0]] == [*event]
    assert [line["state"] for line in shown["history"]] == ["queued", "claimed", "running", "succeeded"]
    assert [line["seq"] for line in shown["history"]] == [1, 2, 3, 4]
    assert (shown["options"]["radiometry"], shown["collection"], shown["depth"]) == ("raw", "lakes", 1)
    assert shown["started"] == shown["history"][1]["at"]


def test_a_run_is_shown(stacked, some):
    """By the beginning of its id, with its options from its order; without that it says what it does not know."""
    text = ok(stacked.runs("show", some["going"][:8]))
    assert f"run      {some['going']}\nstate    running, attempt 1\nitem     scenes/going\n" in text
    assert 'options  {"radiometry": "raw"' in text
    assert "output   lakes\n" in text
    assert "done     not counted, 4 tiles, 1 shards\n" in text
    assert "error    DataError: a.tif" in ok(stacked.runs("show", some["bad"]))
    stacked.cloud.s3.delete_object(Bucket=stacked.cloud.bucket.name, Key=stacked.cloud.keys("orders/")[0])
    texts = [ok(stacked.runs("show", run_id)) for run_id in some.values()]
    assert sum("options  not known" in text and "output   not known" in text for text in texts) == 1
    missing = stacked.runs("show", "0" * 8)
    assert (missing.returncode, "no run 00000000" in missing.stderr) == (2, True)


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_pages_leave_none_out_and_tell_none_twice(cloud, limit):
    """Also among runs that changed at the same moment."""
    states = [(), ("running",), ("running", "failed")] * 3
    ids = [run(cloud, f"s{n}", *each) for n, each in enumerate(states)]
    for run_id in ids[:-1]:
        key = {"pk": f"RUN#{run_id}", "sk": "RUN"}
        sets = {":at": 1_700_000_000}
        cloud.ledger.table.update_item(Key=key, UpdateExpression="SET updated = :at", ExpressionAttributeValues=sets)
    runs, before, seen = StackRuns(cloud.deployment), None, []
    while before is not None or not seen:
        page = runs.page(RunFilter(limit=limit, before=before))
        assert len(page.runs) <= limit
        seen += [facts["id"] for facts in page.runs]
        before = page.next
    assert seen == [ids[-1], *sorted(ids[:-1])]
    assert len(list(chosen_runs(runs, RunFilter(limit=0), None))) == 9


def test_runs_are_cancelled(stacked, some):
    """In the ledger and in Step Functions, by their ids or by what they have in common; who has ended is left."""
    assert stacked.status(some["going"]) == "RUNNING"
    assert ok(stacked.runs("cancel", some["going"][:8])).startswith(f"cancelled  {some['going'][:8]}  going")
    assert (read_run(stacked.cloud.ledger, some["going"]).state, stacked.status(some["going"])) == (
        "cancelled",
        "ABORTED",
    )
    assert [line["state"] for line in cloud_history(stacked.cloud.ledger, some["going"])][-1] == "cancelled"
    left = stacked.runs("cancel", some["done"])
    assert (left.returncode, "it had ended already, succeeded" in left.stderr) == (2, True)
    assert "waiting" in ok(stacked.runs("cancel", "--watch", "fields"))
    assert stacked.status(some["waiting"]) == "ABORTED"
    assert ok(stacked.runs("cancel", "--watch", "fields")) == "no runs to cancel\n"


def test_many_runs_are_asked_about(stacked):
    """More than ten are cancelled only with --yes, where nobody answers."""
    for n in range(11):
        run(stacked.cloud, f"s{n}")
    assert stacked.runs("cancel", "--state", "claimed").returncode != 0
    assert len(stacked.told("list", "--state", "claimed")) == 11
    assert ok(stacked.runs("cancel", "--state", "claimed", "--yes")).endswith("11 of 11 runs cancelled\n")


def test_what_step_functions_did_not_stop_is_stopped_by_the_next_try(stacked, some):
    """The run is cancelled in the ledger at once; its execution when Step Functions answers."""
    cloud, run_id = stacked.cloud, some["going"]
    fault = ClientError({"Error": {"Code": "ThrottlingException"}}, "StopExecution")
    with pytest.raises(UnavailableError):
        cancel_cloud_run(cloud.refusing(stop_execution=fault), read_run(cloud.ledger, run_id))
    assert (read_run(cloud.ledger, run_id).state, stacked.status(run_id)) == ("cancelled", "RUNNING")
    ok(stacked.runs("cancel", run_id))
    assert stacked.status(run_id) == "ABORTED"


def test_a_run_that_ends_meanwhile_is_left(stacked, some):
    """It was seen running, and succeeds before it is cancelled."""
    seen = read_run(stacked.cloud.ledger, some["going"])
    move_run(stacked.cloud.ledger, seen.id, "succeeded", "registered")
    assert cancel_cloud_run(stacked.cloud.deployment, seen).state == "succeeded"
    assert stacked.status(seen.id) == "RUNNING"


def test_runs_are_retried_and_rerun(stacked, some):
    """One that failed is started once more; one that succeeded only to be computed anew."""
    assert ok(stacked.runs("retry", some["bad"][:8])).startswith(f"queued     {some['bad'][:8]}  bad")
    assert f"{some['bad']}-2" in stacked.cloud.executions()
    refused = stacked.runs("retry", some["done"])
    assert (refused.returncode, "expected one that failed" in refused.stderr) == (2, True)
    ok(stacked.runs("rerun", some["done"]))
    again = read_run(stacked.cloud.ledger, some["done"])
    assert (again.attempt, again.state, again.is_forced) == (2, "claimed", True)


def test_a_retry_waits_for_the_sweep(stacked, some):
    """Where Step Functions does not take it now it is queued."""
    deployment = stacked.cloud.refusing(start_execution=ClientError({"Error": {"Code": "X"}}, "StartExecution"))
    assert StackRuns(deployment).retry(some["bad"])["state"] == "queued"
    assert read_run(stacked.cloud.ledger, some["bad"]).state == "queued"


def test_places_exclude_one_another(stacked, some, tmp_path, monkeypatch):
    """Two that are named are refused; one that is named stands above the environment."""
    for other in (("--catalog", tmp_path / "c.db"), ("--server", "http://127.0.0.1:9")):
        both = stacked.runs("list", *other)
        assert (both.returncode, f"--stack and {other[0]} exclude one another" in both.stderr) == (2, True)
    monkeypatch.setenv("GEODL_STACK", stacked.name)
    assert ok(geodl_here("runs", "list")).endswith("4 runs\n")
    with SqliteCatalog(tmp_path / "c.db"):
        pass
    assert ok(geodl_here("runs", "list", "--catalog", tmp_path / "c.db")) == "no runs\n"


def test_what_looks_at_this_machine_says_so(stacked, some, tmp_path, monkeypatch):
    """GEODL_STACK does not hold for logs and search: they say where they look, unless that was named."""
    path = str(tmp_path / "c.db")
    with SqliteCatalog(path):
        pass
    monkeypatch.setenv("GEODL_CATALOG", path)
    assert geodl_here("search").stderr == ""
    monkeypatch.setenv("GEODL_STACK", stacked.name)
    note = f"note: GEODL_STACK is set; this looks at {path} here"
    for words in (["search"], ["runs", "logs", some["done"][:8]]):
        assert geodl_here(*words).stderr.startswith(note), words
        assert "note" not in geodl_here(*words, "--catalog", path).stderr, words
    assert json.loads(geodl_here("search", "--json").stdout)["features"] == []


def test_a_ledger_that_does_not_answer(stacked, some):
    """It is named, and the exit code says that another try may succeed."""
    stacked.cloud.ledger.table.delete()
    result = stacked.runs("list")
    assert (result.returncode, stacked.cloud.table in result.stderr) == (75, True)
    make_table(stacked.cloud.table)
    assert ok(stacked.runs("list")) == "no runs\n"
    empty = replace(stacked, name="nowhere").runs("list")
    assert (empty.returncode, "stack nowhere: there is none" in empty.stderr) == (2, True)

"""`geodl runs`: lists, facts, logs; retry, cancel and rerun of one or many; the same over a server."""

import json
import threading
import time
from dataclasses import replace

import pytest

from commands import geodl_here
from geodl_core.catalog.api.app import create_app
from geodl_core.cli.runs_list import WIDTH
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import beat, failed, lease_work, planned
from geodl_core.service.ledger.runs import RunFilter, cancel_run, list_runs, read_run
from geodl_core.service.routes.processes_api import processes_router
from geodl_core.service.runs.remote import RemoteRuns
from ledgers import PERMANENT, Clock, compute, crew, facts
from ledgers import place as order
from uvicorns import behind_uvicorn
from watched import opened

SAME = ("id", "state", "attempt", "watch", "item", "model", "error", "created")


@pytest.fixture
def services(tmp_path):
    with opened(tmp_path) as found:
        yield found


@pytest.fixture
def ledger(services):
    return services.ledger


@pytest.fixture
def runs(ledger):
    """A command on the catalog of the test."""

    def command(*words):
        return geodl_here("runs", *words, "--catalog", ledger.location)

    return command


@pytest.fixture
def url(services):
    app = create_app(services.catalog)
    app.include_router(processes_router(services))
    with behind_uvicorn(app) as address:
        yield address


@pytest.fixture
def some(ledger):
    """Runs in several states, by their Items: done, bad, stopped, going, waiting."""
    (done,) = order(ledger, "done", watch="fields")
    compute(ledger)
    (bad,) = order(ledger, "bad", watch="fields")
    failed(ledger, lease_work(ledger, crew()).lease, PERMANENT)
    (stopped,) = order(ledger, "stopped")
    cancel_run(ledger, stopped)
    (going,) = order(ledger, "going", model="trees@ba9876543210")
    planned(ledger, lease_work(ledger, crew()).lease, facts(shards=1, tiles=8))
    beat(ledger, lease_work(ledger, crew()).lease, 2, [("info", "eight tiles"), ("warning", "a [red] one")])
    (waiting,) = order(ledger, "waiting")
    return {"done": done, "bad": bad, "stopped": stopped, "going": going, "waiting": waiting}


def listed(command, *words):
    answer = command("list", "--json", *words)
    assert answer.returncode == 0, answer.stderr
    return [facts["item"]["id"] for facts in json.loads(answer.stdout)]


def test_a_list_is_a_table(runs, some):
    """A line a run, newest first, with what a person wants to see first."""
    answer = runs("list")
    assert answer.returncode == 0
    lines = [line for line in answer.stdout.splitlines() if any(run_id[:8] in line for run_id in some.values())]
    assert [line.split()[0] for line in lines] == [some[name][:8] for name in reversed(some)]
    assert lines[1].split()[:2] == [some["going"][:8], "running"]
    assert "25 %" in lines[1]
    assert "trees@ba98" in lines[1]
    assert "fields" in lines[3]
    assert "no red band" in lines[3]
    assert answer.stdout.endswith("5 runs\n")


def test_long_names_and_errors_take_no_further_line(runs, ledger):
    """Each run has one line: names are shortened in their middle, errors are cut."""
    tail = "_20260514T101559_N0511_R065_T33UVT"
    (run_id,) = order(ledger, f"S2B_MSIL2A{'x' * 60}{tail}", watch="w" * 60)
    failed(ledger, lease_work(ledger, crew()).lease, replace(PERMANENT, message="no band " * 60))
    lines = runs("list").stdout.splitlines()
    (line,) = (line for line in lines if run_id[:8] in line)
    assert "no band" not in "".join(lines).replace(line, "")
    assert max(map(len, lines)) <= WIDTH
    assert "S2B_MSIL" in line
    assert "T33UVT" in line
    assert line.count("…") == 3, line


def test_an_empty_list_says_so(runs):
    """Without runs there is no table."""
    assert runs("list").stdout == "no runs\n"
    assert listed(runs) == []


def test_lists_are_filtered(runs, some):
    """Options and CQL2 choose runs; the limit is of those that are chosen."""
    assert listed(runs) == ["waiting", "going", "stopped", "bad", "done"]
    assert listed(runs, "--state", "invalid", "--state", "queued") == ["waiting", "bad"]
    assert listed(runs, "--watch", "fields") == ["bad", "done"]
    assert listed(runs, "--model", "trees") == ["going"]
    assert listed(runs, "--item", "s2/bad") == ["bad"]
    assert listed(runs, "--since", "1h") == listed(runs)
    assert listed(runs, "--since", "2100-01-01") == []
    assert listed(runs, "--limit", "2") == ["waiting", "going"]
    assert listed(runs, "--where", "error_class = 'ItemError'") == ["bad"]
    assert listed(runs, "--where", "progress > 10 and state <> 'succeeded'") == ["going"]
    assert listed(runs, "--where", "item like 's%' or watch = 'fields'") == ["stopped", "bad", "done"]
    assert listed(runs, "--where", "collection = 's2' and model_name = 'trees'") == ["going"]
    assert listed(runs, "--where", "finished is null") == ["waiting", "going"]
    assert listed(runs, "--where", "created < TIMESTAMP('2001-01-01T00:00:00Z')") == []
    assert listed(runs, "--where", '{"op": "=", "args": [{"property": "state"}, "queued"]}') == ["waiting"]
    assert listed(runs, "--watch", "fields", "--where", "state = 'invalid'", "--limit", "1") == ["bad"]


@pytest.mark.parametrize(
    "words",
    [
        ("--where", "colour = 'red'"),
        ("--where", "state ="),
        ("--where", "(" * 200 + "state = 'x'" + ")" * 200),
        ("--since", "yesterday"),
        ("--item", "s2/"),
        ("--state", "nearly"),
    ],
)
def test_what_cannot_be_understood_is_refused(runs, words):
    """A filter over what runs do not have, or that is none, is refused with its reason."""
    answer = runs("list", *words)
    assert answer.returncode == 2
    assert answer.stdout == ""


def test_long_lists_come_in_pages(runs, ledger):
    """A list longer than a page is whole, each run once, also where many were placed in one moment."""
    ledger.clock = Clock()
    names = [f"scene{n:03}" for n in range(450)]
    order(ledger, *names)
    assert sorted(listed(runs, "--limit", "0")) == names
    assert sorted(listed(runs, "--limit", "0", "--where", "item < 'scene100'")) == names[:100]


def test_a_run_is_shown(runs, some):
    """Facts, reason, result and history of a run, by the first characters of its id."""
    shown = runs("show", some["bad"][:8]).stdout
    for text in (
        some["bad"],
        "invalid",
        "s2/bad",
        "landcover@0123456789ab",
        "ItemError: no red band",
        "ordered by fields",
    ):
        assert text in shown
    assert "results/result" in runs("show", some["done"]).stdout
    document = json.loads(runs("show", some["going"], "--json").stdout)
    assert [event["state"] for event in document["history"]] == ["queued", "claimed", "running"]
    assert (document["tiles_done"], document["tiles"]) == (2, 8)
    assert runs("show", "0" * 64).returncode == 2
    assert runs("show", "x").returncode == 2


def test_logs_are_printed(runs, some):
    """What workers said is printed as they said it; square brackets are no markup."""
    lines = runs("logs", some["going"][:8]).stdout.splitlines()
    assert [line.split("  ", 2)[1:] for line in lines] == [
        ["worker", "eight tiles"],
        ["worker", "warning: a [red] one"],
    ]
    assert [json.loads(line)["text"] for line in runs("logs", some["going"], "--json").stdout.splitlines()] == [
        "eight tiles",
        "a [red] one",
    ]


def test_logs_are_followed_to_the_end(runs, ledger, some):
    """With --follow lines are printed as they come, until the run has ended."""

    def go_on():
        time.sleep(0.3)
        with Ledger(ledger.location) as own:
            cancel_run(own, some["going"])

    other = threading.Thread(target=go_on)
    other.start()
    answer = runs("logs", some["going"], "--follow")
    other.join()
    assert answer.stdout.splitlines()[-1] == "cancelled"
    assert len(answer.stdout.splitlines()) == 3


def test_what_steers_a_terminal_is_not_printed(runs, ledger):
    """Names from outside reach the terminal as plain text."""
    (run_id,) = order(ledger, "a\x1b[31mred", watch="w\x07")
    for words in (("list",), ("show", run_id), ("cancel", run_id)):
        assert "\x1b" not in runs(*words).stdout + runs("show", run_id).stdout


def test_one_run_is_changed(runs, ledger, some):
    """Retry, rerun and cancel of a run by its id, and why not where it cannot be."""
    assert runs("retry", some["bad"][:8]).stdout.startswith("queued")
    assert read_run(ledger, some["bad"]).attempt == 2
    assert runs("rerun", some["done"]).returncode == 0
    assert read_run(ledger, some["done"]).is_forced
    assert runs("cancel", some["going"], some["waiting"]).stdout.endswith("2 of 2 runs cancelled\n")
    for words in (("retry", some["done"]), ("cancel", some["stopped"]), ("rerun", some["bad"])):
        before = read_run(ledger, words[1])
        answer = runs(*words)
        assert answer.returncode == (0 if words[0] == "cancel" else 2)
        assert len((answer.stdout + answer.stderr).splitlines()) == 1, "the same fact twice"
        assert read_run(ledger, words[1]) == before
    both = runs("retry", some["done"], some["stopped"])
    assert (both.returncode, both.stdout.splitlines()[-1]) == (2, "1 of 2 runs queued")
    assert [line.split()[0] for line in both.stderr.splitlines()] == ["left", "error:"]


def test_many_runs_are_changed_by_what_they_are(runs, ledger, some):
    """Options choose runs, of which only those are changed that can be; each is named."""
    answer = runs("retry", "--where", "watch = 'fields'")
    assert answer.stdout.split()[:2] == ["queued", some["bad"][:8]]
    assert read_run(ledger, some["done"]).state == "succeeded"
    assert runs("retry", "--state", "succeeded").stdout == "no runs to retry\n"
    assert runs("cancel", "--since", "1h").stdout.endswith("3 of 3 runs cancelled\n")
    assert {run.state for run in list_runs(ledger, RunFilter())} == {"succeeded", "cancelled"}


def test_nothing_is_meant_by_nothing(runs, some):
    """Without ids and options no run is changed, nor with both."""
    for words in ((), (some["bad"], "--state", "failed")):
        answer = runs("retry", *words)
        assert answer.returncode == 2
        assert "expected either" in answer.stderr


def test_many_runs_are_changed_after_a_question(ledger, monkeypatch):
    """More than ten runs are changed only where a person says yes, or --yes does."""
    import io  # noqa: PLC0415  # for this test alone

    order(ledger, *(f"scene{n}" for n in range(11)))
    words = ("runs", "cancel", "--state", "queued", "--catalog", ledger.location)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    refused = geodl_here(*words)
    assert refused.returncode != 0
    assert {run.state for run in list_runs(ledger, RunFilter())} == {"queued"}
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "cancel 11 runs?" in geodl_here(*words).stdout
    assert {run.state for run in list_runs(ledger, RunFilter())} == {"cancelled"}
    done = geodl_here("runs", "retry", "--state", "cancelled", "--yes", "--catalog", ledger.location)
    assert done.stdout.endswith("11 of 11 runs queued\n")


def test_a_server_answers_as_the_catalog_does(runs, url, some):
    """The same commands over a server print the same."""

    def remote(*words):
        return geodl_here("runs", *words, "--server", url)

    for words in (
        ("list", "--json"),
        ("list", "--json", "--state", "invalid", "--watch", "fields"),
        ("list", "--json", "--item", "s2/going", "--model", "trees@ba9876543210", "--since", "1h"),
        ("list", "--json", "--where", "progress > 10", "--limit", "1"),
        ("show", some["bad"][:8]),
        ("show", some["going"], "--json"),
        ("logs", some["going"]),
    ):
        here, there = runs(*words), remote(*words)
        assert here.stdout, words
        assert (there.returncode, there.stdout) == (here.returncode, here.stdout), there.stderr
    assert remote("retry", some["bad"]).stdout.startswith(f"queued     {some['bad'][:8]}")
    assert remote("cancel", "--state", "running", "--state", "queued").stdout.endswith("3 of 3 runs cancelled\n")
    refused = remote("retry", some["done"])
    assert refused.returncode == 2
    assert "found it succeeded" in refused.stderr
    assert remote("show", "0" * 64).returncode == 2


def test_long_lists_come_in_pages_over_a_server_too(url, ledger):
    """A list longer than a page is whole over a server, each run once."""
    ledger.clock = Clock()
    names = [f"scene{n:03}" for n in range(450)]
    order(ledger, *names)
    answer = geodl_here("runs", "list", "--json", "--limit", "0", "--server", url)
    assert sorted(facts["item"]["id"] for facts in json.loads(answer.stdout)) == names


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--server", "ftp://x"), 2, "http"),
        (("--server", "http://example.com", "--token", "gdl_secret"), 2, "https"),
        (("--server", "http://127.0.0.1:9", "--token", "gdl_secret"), 75, "does not answer"),
        (("--server", "http://127.0.0.1:9", "--catalog", "x.db"), 2, "exclude"),
    ],
)
def test_servers_that_do_not_serve(words, code, said):
    """An address that is none, that would carry a token in the clear, or at which nobody answers, is named as such."""
    answer = geodl_here("runs", "list", *words)
    assert answer.returncode == code
    assert said in answer.stderr
    assert "gdl_secret" not in answer.stderr


def test_tokens_are_sent_where_they_belong(url):
    """The token goes to the server as a bearer token."""
    with RemoteRuns(url, "gdl_secret") as remote:
        assert remote._session.headers["Authorization"] == "Bearer gdl_secret"
        assert remote.page(RunFilter(limit=5)).runs == []

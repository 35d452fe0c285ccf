"""Watches as people keep them: by the API, by the command line, in YAML files."""

import json

import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from starlette.testclient import TestClient

from geodl_core.catalog.api.responses import answer_errors
from geodl_core.cli.main import geodl
from geodl_core.service.ledger.watches import read_stored_watch
from geodl_core.service.routes.watches_api import watches_router
from networks import conv_network, write_emd
from stac_documents import rectangle
from watched import collection, dispatch, opened, register, runs, scene, watch

WATCH = {"name": "crops", "model": "net", "collections": ["scenes"], "filter": "eo:cloud_cover < 20"}


@pytest.fixture
def services(tmp_path):
    with opened(tmp_path) as found:
        register(found, tmp_path)
        yield found


@pytest.fixture
def client(services):
    app = FastAPI()
    app.include_router(watches_router(services))
    answer_errors(app)
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `geodl` on the catalog of the test; returns its output, or the error that it raised."""
    monkeypatch.setenv("GEODL_CATALOG", str(tmp_path / "catalog.db"))

    def run(*words):
        done = CliRunner().invoke(geodl, [str(word) for word in words])
        return done.stdout if done.exception is None else done.exception

    return run


def test_a_watch_is_kept_changed_and_removed_by_the_api(client):
    """What is posted is read back, what is put takes its place, what is deleted is gone; each with its status."""
    made = client.post("/watches", json={**WATCH, "aoi": rectangle(0, 0, 1, 1)})
    assert (made.status_code, made.headers["location"]) == (201, "/watches/crops")
    read = client.get("/watches/crops").json()
    assert read == made.json()
    assert read["watch"]["aoi"]["type"] == "Polygon"
    assert (read["is_paused"], read["runs_today"], read["last_problem"]) == (False, 0, None)
    assert client.post("/watches", json=WATCH).status_code == 409
    assert client.put("/watches/crops", json=read["watch"]).json()["watch"] == read["watch"]
    assert client.put("/watches/crops", json={"model": "net", "priority": 3}).status_code == 200
    assert client.put("/watches/other", json={"model": "net"}).status_code == 201
    assert client.put("/watches/other", json={**WATCH}).status_code == 400
    listed = client.get("/watches").json()["watches"]
    assert [one["watch"]["name"] for one in listed] == ["crops", "other"]
    assert listed[0]["watch"] == {"name": "crops", "model": "net", "priority": 3}
    assert client.post("/watches/crops/pause").json()["is_paused"]
    assert not client.post("/watches/crops/resume").json()["is_paused"]
    assert client.delete("/watches/crops").status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume")):
        assert client.request(method, f"/watches/crops{path}").status_code == 404
    assert client.post("/watches/crops/test", json=scene()).status_code == 404


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {**WATCH, "name": "No Name"},
        {**WATCH, "model": "ghost"},
        {**WATCH, "model": "/etc/passwd"},
        {**WATCH, "filter": "eo:cloud_cover <"},
        {**WATCH, "filter": "(" * 5_000},
        {**WATCH, "aoi": "1,2,3"},
        {**WATCH, "options": {"arguments": {"nothing": 1}}},
        {**WATCH, "options": {"unknown": 1}},
        {**WATCH, "options": {"max_object": "64"}},
        {**WATCH, "surprise": 1},
    ],
)
def test_a_watch_that_cannot_serve_is_refused(client, document):
    """A document that is wrong, a model that is not there, an argument that it does not take: 400, nothing kept."""
    answer = client.post("/watches", json=document)
    assert answer.status_code == 400, answer.text
    assert client.get("/watches").json() == {"watches": []}


def test_broken_json_is_refused(client):
    """Bodies that are no JSON, or nest without end, get 4xx."""
    for body in ("{", "[" * 100_000, "\xff", "NaN"):
        headers = {"content-type": "application/json"}
        for path in ("/watches", "/watches/test"):
            assert 400 <= client.post(path, content=body.encode("latin-1"), headers=headers).status_code < 500


def test_a_test_says_which_match_and_why_not(client, services):
    """Each watch is told with all its checks, over the API as for people."""
    watch(services, "near", aoi="10,45,11,46")
    watch(services, "far", aoi="50,45,51,46", filter="eo:cloud_cover < 5")
    watch(services, "ghost", model="ghost")
    one = scene(properties={"eo:cloud_cover": 40})
    told = {each["watch"]: each for each in client.post("/watches/test", json=one).json()["results"]}
    assert {name: each["matches"] for name, each in told.items()} == {"near": True, "far": False, "ghost": False}
    failed = [check["name"] for check in told["far"]["checks"] if not check["passed"]]
    assert failed == ["area", "filter"]
    assert [check["name"] for check in told["ghost"]["checks"] if not check["passed"]] == ["model"]
    assert client.post("/watches/far/test", json=one).json() == told["far"]
    assert client.post("/watches/test", json={"type": "Point"}).status_code == 400
    assert runs(services) == []


def test_a_test_of_poison_is_answered(client, services):
    """Whatever stands in an Item, the answer says what each watch makes of it."""
    watch(services, aoi="0,0,1,1", filter="eo:cloud_cover < 5")
    for more in ({"geometry": 5}, {"properties": None}, {"links": 7}, {"collection": [1]}, {"assets": None}):
        answer = client.post("/watches/test", json={**scene(), **more})
        assert (answer.status_code, answer.json()["results"][0]["matches"]) == (200, False)


def test_a_file_of_watches_is_added(command, services, tmp_path):
    """Documents and lists of one YAML file are added, their areas read from beside it, their models registered."""
    conv_network(tmp_path / "new.onnx", seed=9)
    write_emd(tmp_path, "new.onnx", "new.emd", ModelName="new")
    (tmp_path / "area.geojson").write_text(json.dumps(rectangle(0, 0, 1, 1)))
    (tmp_path / "watches.yaml").write_text(
        """
name: one
model: new.emd
collections: [scenes]
aoi: area.geojson
filter: "eo:cloud_cover < 20"
options: {arguments: {padding: 8}, radiometry: raw}
---
- name: two
  model: net
  mode: schedule
  collections: [sentinel-2-l2a]
  schedule: {every: PT6H}
- {name: three, model: net, max_runs_per_day: 4}
"""
    )
    assert "watch    one: new" in command("watch", "add", tmp_path / "watches.yaml")
    one = read_stored_watch(services.ledger, "one").watch
    assert one.model == "new"
    assert sorted(map(tuple, json.loads(one.aoi)["coordinates"][0])) == [(0, 0), (0, 0), (0, 1), (1, 0), (1, 1)]
    listed = json.loads(command("watch", "list", "--json"))["watches"]
    assert [each["watch"]["name"] for each in listed] == ["one", "three", "two"]
    assert "--replace" in command("watch", "add", tmp_path / "watches.yaml").hint
    assert "watch    three" in command("watch", "add", tmp_path / "watches.yaml", "--replace")


@pytest.mark.parametrize(
    "text",
    ["", "name: [", "- 5", "3", "name: a\nmodel: net\naoi: lacks.geojson", "!!python/object:os.system {}", "\0"],
)
def test_bad_files_are_refused(command, services, tmp_path, text):
    """A file without watches is refused with its name, and keeps nothing."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    error = command("watch", "add", path)
    assert type(error).__name__ == "InputError"
    assert command("watch", "list") == "no watches\n"


def test_options_say_what_documents_say(command, services):
    """A watch of options is the one that YAML would have written."""
    words = [
        "--name",
        "w",
        "-m",
        "net",
        "-c",
        "a",
        "-c",
        "b",
        "--aoi",
        "5,45,6,46",
        "--filter",
        "x < 3",
        "--whole-scenes",
    ]
    words += ["--arg", "padding=8", "--radiometry", "raw", "--output-collection", "o", "--priority", 5]
    words += ["--dedupe-by", "s2:tile_id", "--dedupe-by", "datetime", "--max-runs-per-day", 7, "--description", "d"]
    words += ["--every", "3600", "--timezone", "Europe/Vienna", "--api", "https://stac.example.com", "--lookback", 3]
    (document,) = json.loads(command("watch", "add", *words, "--max-cloud", 20, "--min-cover", 0.5, "--json"))
    assert document.pop("aoi").startswith('{"type":"Polygon"')
    assert document == {
        "name": "w",
        "description": "d",
        "model": "net",
        "collections": ["a", "b"],
        "clip": False,
        "filter": "x < 3",
        "options": {"arguments": {"padding": 8}, "radiometry": "raw"},
        "output_collection": "o",
        "priority": 5,
        "dedupe_by": ["s2:tile_id", "datetime"],
        "mode": "schedule",
        "schedule": {"every": "PT1H", "timezone": "Europe/Vienna"},
        "source": {"api": "https://stac.example.com", "lookback_days": 3.0, "max_cloud": 20.0, "min_cover": 0.5},
        "max_runs_per_day": 7,
    }
    (cron,) = json.loads(
        command("watch", "add", "--name", "c", "-m", "net", "-c", "a", "--cron", "0 6 * * *", "--json")
    )
    assert cron["schedule"] == {"cron": "0 6 * * *"}


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--name", "w"),
        ("--name", "w", "-m", "ghost"),
        ("--name", "w", "-m", "net", "--every", "soon", "-c", "a"),
        ("--name", "w", "-m", "net", "--arg", "nothing=1"),
        ("--name", "w", "-m", "net", "--filter", "{"),
        ("--name", "w", "-m", "lacks.emd"),
        ("lacks.yaml",),
        ("lacks.yaml", "--name", "w"),
    ],
)
def test_bad_options_are_refused(command, services, words):
    """What is missing or wrong is an error of the input, in one line."""
    error = command("watch", "add", *words)
    assert getattr(error, "exit_code", None) == 2, error
    assert "\n" not in error.message


def test_people_see_what_happened(command, services, tmp_path):
    """Publish, test, apply, pause, resume, show and remove, as the documentation tells it."""
    (tmp_path / "i.json").write_text(json.dumps(scene(properties={"eo:cloud_cover": 12})))
    assert "published   scenes/i" in command("publish", tmp_path / "i.json")
    assert "unchanged" in command("publish", tmp_path / "i.json")
    command("watch", "add", "--name", "clear", "-m", "net", "--filter", "eo:cloud_cover < 20")
    command("watch", "add", "--name", "cloudy", "-m", "net", "--filter", "eo:cloud_cover > 20")
    for item in (tmp_path / "i.json", "catalog:scenes/i"):
        told = command("watch", "test", item)
        assert "clear: matches" in told
        assert "cloudy: does not match" in told
        assert "NO  filter     eo:cloud_cover = 12" in told
    assert "cloudy" not in command("watch", "test", tmp_path / "i.json", "--watch", "clear")
    assert "clear: matches" in command("watch", "test", tmp_path / "i.json", "--exit-code")
    assert command("watch", "test", tmp_path / "i.json", "--watch", "cloudy", "--exit-code").code == 1
    assert "1 to be ordered" in command("watch", "apply", "clear", "--dry-run")
    assert "1 ordered, 0 there" in command("watch", "apply", "clear")
    assert "0 ordered, 1 there" in command("watch", "apply", "clear")
    assert json.loads(command("watch", "apply", "clear", "--json"))["item"] == "scenes/i"
    assert "runs today           1" in command("watch", "show", "clear")
    assert command("watch", "pause", "clear") == "paused clear\n"
    assert "paused" in command("watch", "show", "clear")
    assert json.loads(command("watch", "show", "clear", "--json"))["is_paused"]
    assert command("watch", "resume", "clear") == "resumed clear\n"
    assert command("watch", "remove", "cloudy") == "removed cloudy\n"
    assert "cloudy" not in command("watch", "list")
    for words in (["show"], ["pause"], ["resume"], ["remove"], ["apply"]):
        assert command("watch", *words, "lacks").exit_code == 2


def test_the_last_problem_is_shown(command, services):
    """What a watch passed over last, and why, stands where people look at it."""
    collection(services)
    watch(services, "broken", model="ghost")
    services.catalog.put_item(scene())
    dispatch(services)
    told = command("watch", "show", "broken")
    assert "1 in all" in told
    assert "scenes/i" in told
    assert "no registered model ghost" in told
    assert "ghost" in command("watch", "list")


def test_what_is_published_is_told_and_refusals_count(command, services, tmp_path):
    """Of several files each has its line; one that is refused makes the command fail, and the others are there."""
    (tmp_path / "good.json").write_text(json.dumps(scene("good")))
    (tmp_path / "bad.json").write_text(json.dumps({"id": "x"}))
    error = command("publish", tmp_path / "bad.json", tmp_path / "good.json")
    assert (error.exit_code, error.message) == (2, "1 of 2 refused")
    assert services.catalog.get_item("scenes", "good") is not None
    for words in ([], ["--watch", tmp_path / "lacks"], ["x.json", "--watch", tmp_path], ["lacks.json"]):
        assert command("publish", *words).exit_code == 2
    assert command("publish", "x.json", "--server", "http://127.0.0.1:1", "--catalog", "c.db").exit_code == 2


def test_a_catalog_that_is_not_there_is_not_made_by_looking(command, tmp_path, monkeypatch):
    """A path that is mistyped is an error, not an empty catalog."""
    monkeypatch.setenv("GEODL_CATALOG", str(tmp_path / "typo.db"))
    assert command("watch", "list").exit_code == 75
    assert not (tmp_path / "typo.db").exists()

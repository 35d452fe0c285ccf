"""Publishing: by envelopes over HTTP, from the command line, and out of a folder."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from commands import geodl_here
from forks import Forked
from geodl_core.catalog.api.app import create_app
from geodl_core.catalog.api.responses import answer_errors
from geodl_core.domain.place.access import Access
from geodl_core.domain.place.address import read_allowed
from geodl_core.errors import InputError
from geodl_core.io.remote.access import access_in_force
from geodl_core.service.routes.publish_api import publish_router
from geodl_core.service.triggers.folder import REFUSED_NAME, WatchedFolder, publish_folder_once
from geodl_core.service.triggers.local import read_publication
from geodl_core.service.triggers.publish import publish, small_collection
from geodl_core.service.triggers.send import send
from scenes import write_raster
from schemas import require_valid
from servers import FileServer
from uvicorns import behind_uvicorn
from watched import collection, dispatch, opened, register, runs, scene, watch
from websites import send as answer
from websites import website


@pytest.fixture
def services(tmp_path):
    with opened(tmp_path) as found:
        yield found


@pytest.fixture
def client(services):
    app = FastAPI()
    app.include_router(publish_router(services))
    answer_errors(app)
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


def outcomes(results):
    return [one.outcome for one in results]


def test_items_are_published(services):
    """A new Item is written, the same again is not, a changed one is; a missing Collection is made and that is told."""
    (first,) = publish(services, scene(), "body")
    assert (first.outcome, first.collection, first.item_id) == ("published", "scenes", "i")
    assert "made the Collection scenes" in first.text
    seq = services.catalog.outbox(0, 100)[-1].seq
    assert outcomes(publish(services, scene(), "body")) == ["unchanged"]
    assert services.catalog.outbox(seq, 100) == []
    assert outcomes(publish(services, scene(properties={"x": 1}), "body")) == ["published"]
    assert services.catalog.get_item("scenes", "i")["properties"]["x"] == 1


@pytest.mark.shared
def test_collections_that_are_made_are_valid(shared):
    """The small Collection of Items that came without one is valid STAC."""
    require_valid(small_collection("x"), shared)


def test_each_message_has_its_outcome(services):
    """Of many Items the bad ones are refused with a reason and their place, and the others are there."""
    deep = {"x": {}}
    below = deep["x"]
    for _ in range(150):
        below["x"] = {}
        below = below["x"]
    poison = [
        scene("geometry", geometry={"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
        scene("big", properties={"text": "x" * 10_000_000}),
        scene("deep", properties=deep),
        scene("itself", links=[{"rel": "derived_from", "href": "a"}, {"rel": "self", "href": "a"}]),
        scene("types", properties={"datetime": 5}),
        scene("asset", assets={"a": {"href": 5}}),
        scene("models", "models"),
        scene("slash", "a/b"),
        {**scene("none"), "collection": None},
        {**scene(), "id": 5},
        {"type": "Feature"},
        7,
    ]
    good = [scene(str(n)) for n in range(3)]
    mixed = [good[0], *poison[:6], good[1], *poison[6:], good[2]]
    results = publish(services, {"type": "FeatureCollection", "features": mixed}, "body")
    expected = ["published", *["refused"] * 6, "published", *["refused"] * 6, "published"]
    assert outcomes(results) == expected
    assert [one.place for one in results] == [f"body.features[{n}]" for n in range(len(mixed))]
    assert all(one.text for one in results if one.outcome == "refused")
    assert {one["id"] for one in services.catalog.collections()} == {"scenes"}


def test_a_collection_may_be_given(services):
    """Items that name no Collection go where the publisher says."""
    bare = {key: value for key, value in scene().items() if key != "collection"}
    (result,) = publish(services, bare, "body", "given")
    assert (result.outcome, services.catalog.get_item("given", "i")["collection"]) == ("published", "given")


def test_an_item_of_the_catalog_is_looked_at_once_more(services):
    """The name of an Item that is there brings it before the watches again; one that is not there is refused."""
    publish(services, scene(), "body")
    seq = services.catalog.outbox(0, 100)[-1].seq
    named = [{"collection": "scenes", "id": "i"}, {"collection": "scenes", "id": "lacks"}]
    assert outcomes(publish(services, named, "body")) == ["published", "refused"]
    assert [row.item_id for row in services.catalog.outbox(seq, 100)] == ["i"]


def test_named_items_are_fetched_from_where_they_may_be(services, tmp_path):
    """An href is fetched, its Item's relative hrefs made absolute; servers that are not public are refused."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "i.json").write_text(json.dumps(scene(assets={"red": {"href": "./red.tif"}})))
    (folder / "no.json").write_text("nothing")
    with FileServer(folder) as server:
        hrefs = [server.url(name) for name in ("i.json", "no.json", "lacks.json", "busy.json")]
        server.fail("/busy.json", 503)
        documents = [{"href": href} for href in hrefs]
        assert outcomes(publish(services, documents, "body")) == ["refused"] * 4
        assert server.requests == ()
        allowed = read_allowed(server.url().split("/")[2])
        with access_in_force(Access(allowed_hosts=allowed)):
            results = publish(services, documents, "body")
        assert outcomes(results) == ["published", "refused", "refused", "unavailable"]
        stored = services.catalog.get_item("scenes", "i")
        assert stored["assets"]["red"]["href"] == server.url("red.tif")
    for href in ("file:///etc/passwd", "/etc/passwd", "ftp://x/y", "http://", "http://[", "http://169.254.169.254/x"):
        assert outcomes(publish(services, {"href": href}, "body")) == ["refused"], href
    with pytest.raises(InputError, match="hrefs"):
        publish(services, [{"href": "https://example.com"}] * 101, "body")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps(scene()), 200),
        (json.dumps({"Records": [{"body": json.dumps({"Message": json.dumps(scene()), "TopicArn": "t"})}]}), 200),
        (json.dumps([scene(), 5]), 200),
        ("{", 400),
        ("[" * 100_000, 400),
        ("NaN", 400),
        (json.dumps({"id": "i"}), 400),
        (json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": "https://evil.example.com"}), 403),
        (b"\xff\xfe", 400),
    ],
)
def test_envelopes_are_taken_over_http(client, body, status):
    """`/publish` answers each message's outcome, or what is wrong with the whole."""
    answer = client.post("/publish", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["results"][0]["outcome"] == "published"


def test_bodies_are_bounded_and_said_to_be_json(client):
    """A body that is too large, or that any page could send, is refused; SNS may call its JSON text."""
    big = json.dumps(scene(properties={"x": "y" * 10_000_000}))
    headers = {"content-type": "application/json"}
    assert client.post("/publish", content=big, headers=headers).status_code == 400
    assert client.post("/publish", content=b" " * (33 << 20), headers=headers).status_code == 413
    assert (
        client.post("/publish", content=json.dumps(scene()), headers={"content-type": "text/plain"}).status_code == 415
    )
    sns = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}
    message = {"Type": "Notification", "Message": json.dumps(scene())}
    assert (
        client.post("/publish", content=json.dumps(message), headers=sns).json()["results"][0]["outcome"] == "published"
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.us-west-2.amazonaws.com.evil.example/x",
        "https://evil.example/sns.us-west-2.amazonaws.com",
        "https://sns.us-west-2.amazonaws.com@evil.example/",
        "https://user@sns.us-west-2.amazonaws.com/",
        "https://sns.us-west-2.amazonaws.com:8443/",
        "https://s3.us-west-2.amazonaws.com/",
        "https://[",
        "",
    ],
)
def test_only_subscriptions_of_sns_are_confirmed(services, url):
    """Where confirming is allowed, no other address than one of SNS is asked."""
    app = FastAPI()
    app.include_router(publish_router(services, confirms_sns=True))
    answer_errors(app)
    document = {"Type": "SubscriptionConfirmation", "TopicArn": "arn", "SubscribeURL": url}
    with TestClient(app) as client:
        answer = client.post("/publish", json=document)
    assert (answer.status_code, "SubscribeURL" in answer.text) == (400, True)


def _publish_many(arguments):
    folder, count = arguments
    with opened(Path(folder)) as services:
        return [one.outcome for _ in range(count) for one in publish(services, scene(), "body")]


def test_the_same_item_fifty_times_at_once_is_one_run(services, tmp_path):
    """Threads and processes, through the API and by publishing, while others dispatch: one run comes of it."""
    register(services, tmp_path)
    collection(services)
    watch(services)
    app = create_app(services.catalog)
    app.include_router(publish_router(services))
    stop = threading.Event()

    def follow():
        while not stop.is_set():
            dispatch(services)

    followers = [threading.Thread(target=follow) for _ in range(2)]
    for follower in followers:
        follower.start()
    with (
        multiprocessing.get_context("spawn").Pool(4) as processes,
        TestClient(app, base_url="http://localhost") as client,
        ThreadPoolExecutor(8) as threads,
    ):
        sent = processes.map_async(_publish_many, [(str(tmp_path), 6)] * 4)

        def post(number):
            if number % 2:
                return client.post("/publish", json=scene()).status_code
            return client.post("/collections/scenes/items", json=scene()).status_code

        codes = list(threads.map(post, range(26)))
        results = [one for each in sent.get(60) for one in each]
    stop.set()
    for follower in followers:
        follower.join()
    dispatch(services)
    assert set(codes) <= {200, 201, 409}
    assert set(results) <= {"published", "unchanged"}
    assert len(results) + len(codes) == 50
    assert len(runs(services)) == 1


def test_poison_over_http_is_refused_and_blocks_nothing(services, tmp_path):
    """What is wrong gets 4xx through the API, and whatever gets in starts nothing and stops nothing."""
    register(services, tmp_path)
    collection(services)
    watch(services, filter="eo:cloud_cover < 50")
    app = create_app(services.catalog)
    headers = {"content-type": "application/json"}
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        place = "/collections/scenes/items"
        bad = [
            scene("g", geometry={"type": "Polygon", "coordinates": [[[0, 0]]]}),
            scene("t", properties={"datetime": []}),
            scene("b", properties={"x": "y" * 10_000_000}),
        ]
        assert all(400 <= client.post(place, content=json.dumps(one), headers=headers).status_code < 500 for one in bad)
        odd = [
            scene("cloud", properties={"eo:cloud_cover": {"a": [1]}}),
            scene("round", links=[{"rel": "derived_from", "href": "http://localhost/collections/scenes/items/about"}]),
            scene("about", links=[{"rel": "derived_from", "href": "http://localhost/collections/scenes/items/round"}]),
            scene("bare", geometry=None, bbox=None),
        ]
        for one in odd:
            assert client.post(place, json=one).status_code == 201
        assert client.post(place, json=scene("good", properties={"eo:cloud_cover": 1})).status_code == 201
    dispatch(services)
    assert [run.item_id for run in runs(services)] == ["good"]


def step(services, folder):
    told = []
    # Once to see the files, once to see that they have not changed.
    publish_folder_once(services, folder, told.append)
    publish_folder_once(services, folder, told.append)
    return {one.place: one.outcome for one in told}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "incoming"
    path.mkdir()
    return WatchedFolder(path, "drone", settle_s=0.0)


def test_what_appears_in_a_folder_is_published(services, folder):
    """Items and GeoTIFFs become Items of the catalog, once; what changes is published anew."""
    write_raster(folder.path / "field.tif", np.ones((2, 40, 50), "uint16"))
    (folder.path / "i.json").write_text(json.dumps(scene()))
    (folder.path / "note.txt").write_text("no Item")
    (folder.path / ".hidden.json").write_text("{")
    assert step(services, folder) == {"field.tif": "published", "i.json": "published"}
    raster = services.catalog.get_item("drone", "field")
    (asset,) = raster["assets"].values()
    assert asset["href"] == str(folder.path / "field.tif")
    assert asset["file:checksum"].startswith("1220")
    assert services.catalog.get_item("scenes", "i") is not None
    assert step(services, folder) == {}
    (folder.path / "i.json").write_text(json.dumps(scene(properties={"x": 1})))
    assert step(services, folder) == {"i.json": "published"}
    os.utime(folder.path / "field.tif", (1, 1))
    assert step(services, folder) == {}


def test_a_restart_neither_loses_nor_doubles(services, folder):
    """Another process knows what was published by its content, and finds what appeared meanwhile."""
    for number in range(3):
        (folder.path / f"{number}.json").write_text(json.dumps(scene(str(number))))
    step(services, folder)
    seq = services.catalog.outbox(0, 100)[-1].seq
    (folder.path / "3.json").write_text(json.dumps(scene("3")))
    again = WatchedFolder(folder.path, "drone", settle_s=0.0)
    assert step(services, again) == {"3.json": "published"}
    assert [row.item_id for row in services.catalog.outbox(seq, 100)] == ["3"]


def test_files_that_are_written_are_waited_for(services, tmp_path):
    """A file is taken once it has not changed for a while, as the clock of the server tells."""
    clock = [datetime(2026, 5, 1, tzinfo=UTC)]
    timed = replace(services, now=lambda: clock[0])
    waiting = WatchedFolder(tmp_path / "slow", settle_s=1.0)
    waiting.path.mkdir()
    path, told = waiting.path / "i.json", []
    text = json.dumps(scene())
    for part in (10, 20, 30):
        path.write_text(text[:part])
        publish_folder_once(timed, waiting, told.append)
        clock[0] += timedelta(seconds=0.9)
    path.write_text(text)
    for _ in range(2):
        publish_folder_once(timed, waiting, told.append)
        assert told == []
        clock[0] += timedelta(seconds=0.6)
    publish_folder_once(timed, waiting, told.append)
    assert outcomes(told) == ["published"]


def test_files_are_taken_though_the_clock_is_set_back(services, tmp_path):
    """A clock that jumps back by a day does not keep a file waiting for a day."""
    clock = [datetime(2026, 5, 2, tzinfo=UTC)]
    timed = replace(services, now=lambda: clock[0])
    waiting = WatchedFolder(tmp_path / "slow", settle_s=1.0)
    waiting.path.mkdir()
    (waiting.path / "i.json").write_text(json.dumps(scene()))
    told = []
    publish_folder_once(timed, waiting, told.append)
    clock[0] -= timedelta(days=1)
    for _ in range(2):
        publish_folder_once(timed, waiting, told.append)
        clock[0] += timedelta(seconds=1.5)
    assert outcomes(told) == ["published"]


def test_numbers_beyond_all_bounds_are_refused(services):
    """A coordinate that no float holds is refused with its Item, and the others of the envelope are published."""
    bad = scene("bad", geometry={"type": "Point", "coordinates": [10**400, 0]})
    found = publish(services, {"type": "FeatureCollection", "features": [bad, scene("good")]}, "body")
    assert [one.outcome for one in found] == ["refused", "published"]


def test_what_is_no_item_is_told_what_it_is(services):
    """Keys of an unknown object, and what takes a Collection, are named in whole sentences."""
    (one,) = publish(services, {"a": 1}, "x.json")
    assert one.text.endswith("found an object whose keys are a")
    (one,) = publish(services, small_collection("c"), "x.json")
    assert "found a Collection" in one.text
    assert "geodl catalog import" in one.text


def test_a_servers_refusal_names_the_file(services, tmp_path):
    """What a server says of the body that it was sent, the command says of the file that it has read."""
    (tmp_path / "bad.json").write_text('{"a": 1}')
    app = FastAPI()
    app.include_router(publish_router(services))
    answer_errors(app)
    with behind_uvicorn(app) as url:
        told = geodl_here("publish", tmp_path / "bad.json", "--server", url)
    assert told.returncode == 2
    assert str(tmp_path / "bad.json") in told.stdout
    assert "body" not in told.stdout


def test_what_is_no_server_of_geodl_is_told_of_deployments():
    """Who takes the STAC API of a deployment for a server is told how a deployment is named."""
    told = b'{"code":"NotFoundError","description":"Not Found"}'
    with (
        website(lambda asked: answer(asked, 404, told)) as site,
        pytest.raises(InputError, match="the server answers 404: Not Found") as caught,
    ):
        send(f"http://127.0.0.1:{site.port}", None, scene(), None)
    assert "--stack NAME" in caught.value.hint


def test_a_token_is_not_sent_in_the_clear():
    """Publishing to another machine with a token wants https; an address that is none is said to be none."""
    with pytest.raises(InputError, match="expected https"):
        send("http://geodl.example.com", "gdl_s3cret", scene(), None)
    with pytest.raises(InputError, match=r"expected an http\(s\) address"):
        send("http://[", None, scene(), None)


def test_bad_files_are_listed_and_others_published(services, folder):
    """What is refused stands in one list with its reason, which goes when nothing is wrong any more."""
    (folder.path / "bad.json").write_text("{")
    (folder.path / "bad.tif").write_bytes(b"II*\x00 no raster")
    (folder.path / "point.json").write_text(json.dumps(scene("p", geometry={"type": "Point", "coordinates": [5, 100]})))
    (folder.path / "collection.json").write_text(json.dumps({"type": "Collection", "id": "c"}))
    (folder.path / "good.json").write_text(json.dumps(scene("good")))
    assert step(services, folder) == {
        "bad.json": "refused",
        "bad.tif": "refused",
        "good.json": "published",
        "point.json": "refused",
    }
    listed = (folder.path / REFUSED_NAME).read_text().splitlines()
    assert [line.partition(":")[0] for line in listed] == ["bad.json", "bad.tif", "point.json"]
    assert all(line.count(f"{line.partition(':')[0]}: ") == 1 for line in listed), "each name once"
    assert "good.json" not in "".join(listed)
    for name in ("bad.json", "bad.tif", "point.json"):
        (folder.path / name).unlink()
    (folder.path / "next.json").write_text(json.dumps(scene("next")))
    step(services, folder)
    assert not (folder.path / REFUSED_NAME).exists()


def test_rasters_of_an_item_are_no_items(services, folder):
    """A GeoTIFF that an Item of the folder has as an asset is not published by itself, also when it comes later."""
    assets = {name: {"href": f"./{name}.tif", "type": "image/tiff"} for name in ("red", "nir")}
    (folder.path / "i.json").write_text(json.dumps(scene(assets=assets)))
    write_raster(folder.path / "red.tif", np.ones((1, 20, 20), "uint8"))
    assert step(services, folder) == {"i.json": "published"}
    write_raster(folder.path / "nir.tif", np.ones((1, 20, 20), "uint8"))
    assert step(services, WatchedFolder(folder.path, "drone", settle_s=0.0)) == {}
    assert services.catalog.get_item("scenes", "i")["assets"]["nir"]["href"] == str(folder.path / "nir.tif")


def test_local_documents_are_read_as_what_they_are(tmp_path):
    """An Item's hrefs become absolute, an envelope stays as it is."""
    (tmp_path / "i.json").write_text(json.dumps(scene(assets={"red": {"href": "./red.tif"}})))
    assert read_publication(str(tmp_path / "i.json"))["assets"]["red"]["href"] == str(tmp_path / "red.tif")
    (tmp_path / "e.json").write_text(json.dumps({"href": "https://example.com/i.json"}))
    assert read_publication(str(tmp_path / "e.json")) == {"href": "https://example.com/i.json"}


def test_a_folder_is_watched_by_the_command(services, tmp_path):
    """`geodl publish --watch` publishes what is moved in, tells of it, and ends in order when told to."""
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    words = ["publish", "--watch", incoming, "--catalog", tmp_path / "catalog.db", "--json"]
    environment = {**os.environ, "GEODL_CACHE": str(tmp_path / "cache")}
    process = Forked(words, (subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE), environment)
    try:
        assert process.stderr.readline().startswith("watching")
        (tmp_path / "draft").write_text(json.dumps(scene()))
        shutil.move(tmp_path / "draft", incoming / "i.json")
        line = json.loads(process.stdout.readline())
        assert (line["outcome"], line["item_id"]) == ("published", "i")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert services.catalog.get_item("scenes", "i") is not None


def test_an_item_loses_the_path_that_it_was_published_from(services):
    """Its results name it by the catalog; an address on the web stays; a relative href without any is refused."""
    beside = scene("beside", links=[{"rel": "self", "href": "/tmp/items/beside.json"}])
    web = scene("web", links=[{"rel": "self", "href": "https://example.com/web.json"}])
    relative = scene("relative", assets={"image": {"href": "./a.tif"}})
    assert outcomes(publish(services, [beside, web, relative], "body")) == ["published", "published", "refused"]
    kept = [services.catalog.read_item("scenes", name).content["links"] for name in ("beside", "web")]
    assert kept == [[], web["links"]]

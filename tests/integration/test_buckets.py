"""Rasters in buckets, against a real S3 API (moto): own credentials, those of nobody, and who pays."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import requests
from moto.server import ThreadedMotoServer

from geodl_core.domain.place.href import with_notes
from geodl_core.errors import ItemError, StoreError
from geodl_core.io.remote import objects
from geodl_core.io.remote.access import access_in_force
from geodl_core.io.remote.egress import EgressProxy
from geodl_core.io.scene.raster import opened
from geodl_core.settings import Settings
from scenes import smooth, write_raster
from websites import Answer, send, website

SECRET = "wJalrXUtnFEMI/K7MDENG"
OWN = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """A store with the bucket `bucket`; its endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    assert requests.put(f"http://{host}:{port}/bucket", timeout=10).ok
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials but a test's own."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "GEODL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def scene(tmp_path: Path) -> np.ndarray:
    pixels = np.stack([smooth((200, 300), 1)])
    write_raster(tmp_path / "scene.tif", pixels)
    return pixels


def settings(monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]) -> Settings:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return Settings.from_env()


def read(href: str) -> np.ndarray:
    with opened(href, "image") as dataset:
        return np.asarray(dataset.read())


def forwarding(endpoint: str) -> Answer:
    """Answer as the store does; the website keeps what was asked."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "accept-encoding"}
        found = requests.request(handler.command, endpoint + handler.path, headers=headers, timeout=10)
        handler.send_response(found.status_code)
        for name in ("Content-Length", "Content-Range", "ETag", "Last-Modified", "Content-Type"):
            if name in found.headers:
                handler.send_header(name, found.headers[name])
        handler.end_headers()
        handler.wfile.write(found.content)

    return answer


def test_gdal_and_obstore_take_one_configuration(
    tmp_path: Path, scene: np.ndarray, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What obstore wrote GDAL reads by the same AWS_ENDPOINT_URL and credentials, signed, in service mode too."""
    with website(forwarding(moto)) as site:
        endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{site.port}"}
        access = settings(monkeypatch, {**OWN, **endpoint}).access
        monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
        objects.upload(tmp_path / "scene.tif", "s3://bucket/own/scene.tif")
        with access_in_force(access):
            assert (read("s3://bucket/own/scene.tif") == scene).all()
        objects.upload(tmp_path / "scene.tif", "s3://bucket/own/again.tif")  # what GDAL has read it keeps
        assert all("AWS4-HMAC-SHA256" in headers["Authorization"] for headers in site.headers)
        assert not any("x-amz-request-payer" in headers for headers in site.headers)
        allowed = settings(monkeypatch, {"GEODL_SERVICE": "1", "GEODL_ALLOW_HOSTS": f"127.0.0.1:{site.port}"}).access
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{site.port}")
        access = Settings.from_env().access
        with EgressProxy(allowed.allowed_hosts) as proxy, access_in_force(access, proxy):
            assert (read(with_notes("s3://bucket/own/again.tif", {"region": "eu-central-1"})) == scene).all()
            assert proxy.served > 0
        assert "/eu-central-1/s3/" in site.headers[-1]["Authorization"]


def test_requester_pays_and_nobody(
    tmp_path: Path, scene: np.ndarray, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header that one pays is sent where one said so; without credentials nothing is signed."""
    content = (tmp_path / "scene.tif").read_bytes()
    with website(lambda handler: send(handler, 200, content)) as site:
        endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{site.port}"}
        with access_in_force(settings(monkeypatch, {**OWN, **endpoint, "GEODL_REQUESTER_PAYS": "1"}).access):
            assert (read("s3://bucket/paid.tif") == scene).all()
        lower = [{name.lower(): value for name, value in headers.items()} for headers in site.headers]
        assert all(headers["x-amz-request-payer"] == "requester" for headers in lower)
        assert all("x-amz-request-payer" in headers["authorization"] for headers in lower)
        site.headers.clear()
        monkeypatch.delenv("GEODL_REQUESTER_PAYS")
        with access_in_force(settings(monkeypatch, {"GEODL_ANONYMOUS": "1"}).access):
            assert (read("s3://bucket/free.tif") == scene).all()
        assert site.headers
        assert not any("Authorization" in headers for headers in site.headers)


def test_other_stores_are_reached(tmp_path: Path, scene: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """gs:// and az:// are read at the endpoints that GDAL is told, Azure's account by obstore's name for it."""
    content = (tmp_path / "scene.tif").read_bytes()
    with website(lambda handler: send(handler, 200, content)) as site:
        monkeypatch.setenv("CPL_GS_ENDPOINT", f"http://127.0.0.1:{site.port}/")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        access = settings(monkeypatch, {"GEODL_ANONYMOUS": "1"}).access
        assert dict(access.gdal)["AZURE_STORAGE_ACCOUNT"] == "account"
        with access_in_force(access):
            assert (read("gs://bucket/scene.tif") == scene).all()
        assert site.paths[0].startswith("/bucket/scene.tif")


def test_the_role_of_a_machine_is_asked_for_past_the_proxy(
    tmp_path: Path, scene: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In service mode boto3 fetches a role's credentials, which GDAL could not, and the bucket is read with them."""
    pytest.importorskip("boto3")
    content = (tmp_path / "scene.tif").read_bytes()
    role = {"AccessKeyId": "ASIAROLE", "SecretAccessKey": SECRET, "Token": "T", "Expiration": "2099-01-01T00:00:00Z"}
    with (
        website(lambda handler: send(handler, 200, content)) as site,
        website(lambda handler: send(handler, 200, json.dumps(role).encode())) as machine,
    ):
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{machine.port}/role")
        env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{site.port}", "AWS_REGION": "us-east-1", "GEODL_SERVICE": "1"}
        access = settings(monkeypatch, {**env, "GEODL_ALLOW_HOSTS": f"127.0.0.1:{site.port}"}).access
        with access_in_force(access) as way:
            assert (read("s3://bucket/role.tif") == scene).all()
            assert way.proxy
            assert way.proxy.served == len(site.paths)
        assert machine.paths
        assert all("ASIAROLE" in headers["Authorization"] for headers in site.headers)


def test_an_object_that_is_gone_is_no_matter_of_time(
    tmp_path: Path, scene: np.ndarray, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in a bucket fails for ever, what a store refuses or cannot give now may come; each says so."""
    codes = {403: b"AccessDenied", 503: b"SlowDown"}
    with access_in_force(settings(monkeypatch, {**OWN, "AWS_ENDPOINT_URL": moto}).access):
        for gone in ("s3://bucket/gone.tif", "s3://nobody/gone.tif"):
            with pytest.raises(ItemError, match=f"asset image: {gone} is not there"):
                read(gone)
            with pytest.raises(ItemError, match=f"asset image: {gone} is not there"):
                read(gone)  # as GDAL remembers it
    for status, words in ((403, "access is refused"), (503, "cannot be opened as a raster now")):
        body = b"<Error><Code>%s</Code><Message>no</Message></Error>" % codes[status]
        with website(lambda handler: send(handler, status, body)) as site:  # noqa: B023  # asked within the loop
            endpoint = {**OWN, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{site.port}"}
            with (
                access_in_force(settings(monkeypatch, endpoint).access),
                pytest.raises(StoreError, match=words),
            ):
                read(f"s3://bucket/{status}.tif")

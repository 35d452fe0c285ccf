"""Files in object stores, against a real S3 API (moto) and a real HTTP server; local paths beside them."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obstore
import pytest
import requests
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from geodl_core.errors import GeodlError, InputError, RefusedError, StoreError
from geodl_core.io.remote import object_stores
from geodl_core.io.remote.objects import (
    delete,
    download,
    exists,
    join,
    list_names,
    object_size,
    read_object,
    upload,
    write_object,
)

SECRET = "wJalrXUtnFEMI/K7MDENG"
ODD_NAMES = ["a b.json", "größe ☃.json", "100%25 #1?x=y&z+.json", "'quoted' (1) [2] *~.json"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server with the bucket `bucket`; its endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    assert requests.put(f"http://{host}:{port}/bucket", timeout=10).ok
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Credentials as users give them; stores are made anew, since they keep what they were made with."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    object_stores._store.cache_clear()
    object_stores._memory.cache_clear()
    yield
    object_stores._store.cache_clear()


@pytest.fixture(params=["s3", "local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder, in each kind of place."""
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("server"))
        return f"s3://bucket/{tmp_path.name}"
    return {"local": str(tmp_path), "file": tmp_path.as_uri(), "memory": "memory:///some/folder"}[request.param]


@pytest.fixture
def s3(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder in the bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    return f"s3://bucket/{tmp_path.name}"


@contextmanager
def answering(status: int, *headers: tuple[str, str], body: bytes = b"", count: int | None = None) -> Iterator[str]:
    """Serve one answer to everything; with `count`, say that the body is that long."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for header in headers:
                self.send_header(*header)
            self.send_header("Content-Length", str(len(body) if count is None else count))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_round_trip(folder: str, tmp_path: Path) -> None:
    """What is written is read, downloaded, listed and measured as it was, and written over, in each kind of place."""
    location = join(folder, "parts", "0001.part")
    assert not exists(location)
    assert object_size(location) is None
    assert list_names(folder) == []
    for content in (b"", b"first", bytes(range(256)) * 5):
        write_object(location, content)
        assert read_object(location, 2000) == content
        assert object_size(location) == len(content)
    download(location, tmp_path / "copy" / "file")
    assert (tmp_path / "copy" / "file").read_bytes() == content
    upload(tmp_path / "copy" / "file", join(folder, "plan.json"))
    assert read_object(join(folder, "plan.json"), 2000) == content
    assert {"parts", "plan.json"} <= set(list_names(folder))
    assert list_names(join(folder, "parts")) == ["0001.part"]
    delete(location)
    delete(location)
    assert not exists(location)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(folder: str, name: str, tmp_path: Path) -> None:
    """Names keep their blanks, percent signs and letters, in files as in folders."""
    location = join(folder, name, name)
    write_object(location, b"content")
    assert read_object(location, 100) == b"content"
    assert list_names(join(folder, name)) == [name]
    assert name in list_names(folder)


def test_urls_as_people_write_them(s3: str) -> None:
    """Blanks and letters beyond ASCII may stand in a URL as they are; a slash at its end says nothing."""
    write_object(f"{s3}/größe 1/a b", b"1")
    assert read_object(join(s3, "größe 1", "a b"), 10) == b"1"
    assert list_names(f"{s3}/größe 1/") == ["a b"]
    assert join(s3 + "/", "x") == join(s3, "x")


def test_large_files(s3: str, tmp_path: Path) -> None:
    """20 MB go up in parts and come down in chunks, unchanged."""
    content = os.urandom(20 << 20)
    (tmp_path / "large").write_bytes(content)
    upload(tmp_path / "large", join(s3, "large"))
    assert str(obstore.head(*object_stores.place_of(join(s3, "large")))["e_tag"]).endswith('-3"')
    download(join(s3, "large"), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == content
    with pytest.raises(InputError, match="at most 1,000 bytes"):
        read_object(join(s3, "large"), 1000)


def test_many_names(s3: str, tmp_path: Path) -> None:
    """More names than a store lists at once (1,000) are all listed."""
    write_object(join(s3, "0000"), b"")
    for index in range(1, 1005):  # behind the server's back, which takes a tenth of the time
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object("bucket", f"{tmp_path.name}/{index:04}", b"")
    assert list_names(s3) == [f"{index:04}" for index in range(1005)]


def test_what_is_not_there(folder: str, tmp_path: Path) -> None:
    """A missing file is the user's mistake, named; nothing is left of the download."""
    for act in (lambda at: read_object(at, 10), lambda at: download(at, tmp_path / "target")):
        with pytest.raises(InputError, match=r"missing\.json: there is no such file"):
            act(join(folder, "missing.json"))
    assert not (tmp_path / "target").exists()
    assert list_names(join(folder, "missing")) == []


def test_a_missing_bucket(s3: str, tmp_path: Path) -> None:
    """A missing bucket is the user's mistake, whatever is asked of it."""
    (tmp_path / "file").write_bytes(b"1")
    away = "s3://no-such-bucket/folder/file"
    for act in (
        lambda: read_object(away, 10),
        lambda: write_object(away, b"1"),
        lambda: upload(tmp_path / "file", away),
        lambda: list_names("s3://no-such-bucket/folder"),
    ):
        with pytest.raises(InputError, match="s3://no-such-bucket/folder"):
            act()
    assert not exists(away)


@pytest.mark.parametrize("folder", ["local"], indirect=True)
def test_a_folder_is_no_file(folder: str, tmp_path: Path) -> None:
    """A folder where a file should be is the user's mistake."""
    with pytest.raises(InputError, match="cannot be a file"):
        read_object(folder, 10)
    assert not exists(folder)


@pytest.mark.parametrize("size", [1, 10 << 20])
def test_a_server_that_is_gone(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing listens, every act is a StoreError within seconds, and a later run may try again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    (tmp_path / "file").write_bytes(bytes(size))
    away = "s3://bucket/folder/file"
    acts = (
        lambda: read_object(away, 10),
        lambda: exists(away),
        lambda: list_names("s3://bucket/folder"),
        lambda: upload(tmp_path / "file", away),
        lambda: download(away, tmp_path / "target"),
    )

    def fails(act: Callable[[], object]) -> bool:
        start = time.monotonic()
        with pytest.raises(StoreError, match="s3://bucket/folder"):
            act()
        return time.monotonic() - start < 10

    with ThreadPoolExecutor(len(acts)) as pool:  # each waits between attempts: together, not one after another
        assert list(pool.map(fails, acts)) == [True] * len(acts)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (503, StoreError, "answers 503"),
        (403, RefusedError, "access is refused: expected leave to read it"),
        (401, RefusedError, "access is refused: expected leave to read it"),
        (400, InputError, "400"),
        (404, InputError, "no such file"),
    ],
)
def test_answers(status: int, kind: type[GeodlError], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that lasts is the user's to mend, one that passes is worth another try; both name the location."""
    with answering(status) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(kind, match=said) as caught:
            read_object("s3://bucket/folder/file", 10)
    assert caught.value.message.startswith("s3://bucket/folder/file: ")


AWAY = "s3://bucket/folder/file"
ACTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "read": (lambda _: read_object(AWAY, 10), "read it (s3:GetObject; s3:ListBucket where it is not there)"),
    "look": (lambda _: exists(AWAY), "read it (s3:GetObject; s3:ListBucket where it is not there)"),
    "fetch": (lambda file: download(AWAY, file), "read it (s3:GetObject; s3:ListBucket where it is not there)"),
    "write": (lambda _: write_object(AWAY, b"x"), "write it (s3:PutObject)"),
    "upload": (lambda file: upload(tmp_path_file(file.parent, 9 << 20), AWAY), "write it (s3:PutObject)"),
    "remove": (lambda _: delete(AWAY), "remove it (s3:DeleteObject)"),
    "list": (lambda _: list_names("s3://bucket/folder/file"), "list it (s3:ListBucket)"),
}


@pytest.mark.parametrize("name", ACTS)
def test_the_leave_that_is_missing_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is refused hears which permission the act takes; that is no fault of the input, and lasts."""
    act, needed = ACTS[name]
    with answering(403) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(RefusedError) as caught:
            act(tmp_path / "file")
    assert caught.value.message == f"{AWAY}: access is refused: expected leave to {needed}"
    assert not (tmp_path / "file").exists()


def test_the_store_knows_better_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permission that the store itself names is told; a file of several that stays is one that may not go."""
    who = "User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized to perform:"
    denied = f"<Error><Code>AccessDenied</Code><Message>{who} kms:Decrypt on resource: k</Message></Error>"
    with answering(403, body=denied.encode()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(RefusedError, match=r"expected leave to read it \(kms:Decrypt\)$") as caught:
            read_object(AWAY, 10)
    assert "arn:" not in f"{caught.value.message}{caught.value.hint}"
    object_stores._store.cache_clear()
    said = "<Error><Key>folder/file</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
    with answering(200, body=f"<DeleteResult>{said}</DeleteResult>".encode()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(RefusedError, match=r"remove it \(s3:DeleteObject\)$"):
            delete(AWAY)


def test_permissions_of_other_stores_are_not_guessed() -> None:
    """Names of permissions are those of S3 alone."""
    with answering(403) as url, pytest.raises(RefusedError, match=r"expected leave to read it$"):
        read_object(f"{url}/a/plan.json", 10)


def test_another_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket in another region is told with what to set."""
    with answering(301) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(InputError, match="another region") as caught:
            read_object("s3://bucket/folder/file", 10)
    assert "AWS_REGION" in (caught.value.hint or "")


def test_a_web_server(tmp_path: Path) -> None:
    """Files of a plain web server are read; one that breaks off is a StoreError and leaves nothing."""
    with answering(200, ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"), ("ETag", '"1"'), body=b"plan") as url:
        assert read_object(f"{url}/a/plan.json", 10) == b"plan"
        upload(tmp_path_file(tmp_path, 9 << 20), f"{url}/a/large")
    date = ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
    with answering(200, date, body=b"pl", count=4) as url, pytest.raises(StoreError):
        download(f"{url}/a/plan.json", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def tmp_path_file(folder: Path, size: int) -> Path:
    (folder / "content").write_bytes(bytes(size))
    return folder / "content"


@pytest.mark.parametrize(
    "location",
    [
        f"https://AKIAIOSFODNN7EXAMPLE:{SECRET.replace('/', '%2F')}@127.0.0.1:1/plan.json",
        f"s3://bucket/plan.json?X-Amz-Signature={SECRET}",
        f"https://account.blob.core.windows.net/container/plan.json?sig={SECRET}",
        f"s3://bucket/plan.json#{SECRET}",
        "s3://bucket/plan.json",
        "https://127.0.0.1:1/plan.json",
    ],
)
def test_no_secrets_in_messages(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment's credentials nor those in a URL are in a message or hint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(GeodlError) as caught:
        read_object(location, 10)
    shown = f"{caught.value.message} {caught.value.hint}"
    assert "plan.json" in shown
    for secret in (SECRET, SECRET[-8:], "AKIA", "sig=", "Signature"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("ftp://host/file", "found ftp"),
        ("://x", "one of s3"),
        ("s3://", "URL of a file"),
        ("s3://bucket", "URL of a file"),
        ("s3://bucket/a//b", "URL of a file"),
        ("az://container/file", "incomplete"),
        ("http://[::1/file", "can be read"),
        ("s3://bucket/a/..", "file"),
        ("local\0path", "cannot be a file"),
    ],
)
def test_locations_that_are_none(location: str, said: str) -> None:
    """What is no location of a file is the user's mistake, told without asking any server."""
    with pytest.raises(InputError, match=said):
        read_object(location, 10)

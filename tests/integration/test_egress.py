"""Service mode: every byte from elsewhere goes by one way, which goes nowhere but to public addresses."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import rasterio
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from geodl_core.domain.place.access import Access
from geodl_core.domain.place.address import read_allowed
from geodl_core.errors import GeodlError, InputError, ItemError, StoreError
from geodl_core.io.remote import session
from geodl_core.io.remote.access import access_in_force
from geodl_core.io.remote.egress import EgressProxy
from geodl_core.io.remote.egress_http import Limits
from geodl_core.io.remote.http import fetch_text
from geodl_core.io.scene.raster import opened
from scenes import smooth, write_raster
from servers import FileServer
from websites import send, website

PUBLIC = "93.184.216.34"


class Names:
    """A resolver of a test's own: name → the answers, one after another, the last for good."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self.answers = {name.replace("_", "."): list(addresses) for name, addresses in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.answers:
            return [entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        left = self.answers[host]
        return [left.pop(0) if len(left) > 1 else left[0]]


@contextmanager
def service(allowed: str = "", names: Names | None = None, **limits: float) -> Iterator[EgressProxy]:
    """Service mode in this process."""
    hosts = read_allowed(allowed)
    with (
        EgressProxy(hosts, names, Limits(**limits)) as proxy,
        access_in_force(Access(is_service=True, allowed_hosts=hosts), proxy),
    ):
        yield proxy


@pytest.fixture
def cog(tmp_path: Path) -> np.ndarray:
    pixels = np.stack([smooth((300, 400), 1)])
    write_raster(tmp_path / "scene.tif", pixels)
    return pixels


def read(url: str) -> np.ndarray:
    with opened(url, "image") as dataset:
        return np.asarray(dataset.read())


def test_a_raster_is_read_through_the_proxy(tmp_path: Path, cog: np.ndarray) -> None:
    """GDAL reads an allowed host by a name that the proxy alone knows: it asks nobody else for addresses."""
    names = Names(scene_test=["127.0.0.1"])
    with FileServer(tmp_path) as files:
        port = files.url().split(":")[2].strip("/")
        with service(f"scene.test:{port}", names) as proxy:
            assert (read(f"http://scene.test:{port}/scene.tif") == cog).all()
            assert proxy.served == len(files.requests) > 0
            assert set(names.asked) == {"scene.test"}


def test_gdals_threads_go_by_the_proxy_too(tmp_path: Path, cog: np.ndarray) -> None:
    """A raster opened and read in threads of one's own goes the same way."""
    names, found = Names(scene_test=["127.0.0.1"]), []
    with FileServer(tmp_path) as files:
        port = files.url().split(":")[2].strip("/")
        with service(f"scene.test:{port}", names):
            url = f"http://scene.test:{port}/scene.tif"
            threads = [threading.Thread(target=lambda: found.append(read(url))) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(found) == 4
    assert all((pixels == cog).all() for pixels in found)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "127.1",
            "0",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ),
        *("169.254.169.254", "0xa9fea9fe", "10.0.0.1", "192.168.0.1", "100.64.0.1", "[fd00:ec2::254]", "[fe80::1]"),
    ],
)
def test_addresses_are_refused_however_they_are_spelled(host: str) -> None:
    """GDAL and requests get no connection; the error says why, is permanent, and does not name the address."""
    with service() as proxy:
        for scheme in ("http", "https"):
            with pytest.raises(ItemError, match="refused: its address is not public"):
                read(f"{scheme}://{host}/scene.tif?sig=SECRET")
            with pytest.raises(ItemError, match="refused: its address is not public") as caught:
                fetch_text(f"{scheme}://{host}/item.json?sig=SECRET")
            assert "SECRET" not in caught.value.message
        assert proxy.served == 0


def test_a_name_that_changes_its_address_is_refused(tmp_path: Path, cog: np.ndarray) -> None:
    """A name that answers a public address first and 127.0.0.1 then is judged by the answer that is connected to."""
    with FileServer(tmp_path) as files:
        port = files.url().split(":")[2].strip("/")
        names = Names(rebind_test=[PUBLIC, "127.0.0.1"])
        assert names("rebind.test", 80) == [PUBLIC]  # whoever checks first is told this
        with service(f"127.0.0.1:{port}", names) as proxy:
            with pytest.raises(ItemError, match="refused"):
                read("http://rebind.test/scene.tif")
            assert proxy.served == 0
        assert not files.requests


def test_the_address_that_was_judged_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up once for a connection, which goes to the very address that was found public."""
    names, reached = Names(rebind_test=[PUBLIC, "127.0.0.1"]), []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        reached.append(address)
        raise OSError("not from here")

    monkeypatch.setattr("geodl_core.io.remote.egress.socket.create_connection", connect)
    proxy = EgressProxy(read_allowed(""), names)
    try:
        with pytest.raises(OSError, match="not from here"):
            proxy.connect("rebind.test", 443)
    finally:
        proxy._server.server_close()
    assert reached == [(PUBLIC, 443)]
    assert names.asked == ["rebind.test"]


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "http://secret.test/scene.tif", "LOOP"],
)
def test_redirects_are_judged(tmp_path: Path, cog: np.ndarray, target: str) -> None:
    """A redirect to the metadata address or to a port of this machine is refused, to GDAL and to requests."""
    with FileServer(tmp_path) as files:
        goal = files.url("scene.tif") if target == "LOOP" else target
        with website(lambda handler: send(handler, 302, Location=goal)) as site:
            names = Names(secret_test=["10.0.0.1"], outside_test=["127.0.0.1"])
            with service(f"outside.test:{site.port}", names):
                with pytest.raises(ItemError, match="refused"):
                    read(f"http://outside.test:{site.port}/scene.tif")
                with pytest.raises(ItemError, match="refused"):
                    fetch_text(f"http://outside.test:{site.port}/item.json")
            assert site.paths
        assert not files.requests


def test_redirects_to_allowed_hosts_are_followed(tmp_path: Path, cog: np.ndarray) -> None:
    """A redirect within what may be read works."""
    with (
        FileServer(tmp_path) as files,
        website(lambda handler: send(handler, 302, Location=files.url("scene.tif"))) as site,
        service(f"127.0.0.1:{site.port}, {files.url().split('/')[2]}"),
    ):
        assert (read(f"http://127.0.0.1:{site.port}/x.tif") == cog).all()


def test_https_goes_through_a_tunnel(tmp_path: Path, cog: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over https a raster of an allowed host is read, by the name that its certificate is for, and no other host's."""
    content = (tmp_path / "scene.tif").read_bytes()
    with website(lambda handler: send(handler, 200, content), certified(tmp_path, "scene.test")) as site:
        monkeypatch.setenv("GDAL_CURL_CA_BUNDLE", str(tmp_path / "certificate.pem"))
        with service(f"scene.test:{site.port}", Names(scene_test=["127.0.0.1"])) as proxy:
            assert (read(f"https://scene.test:{site.port}/scene.tif") == cog).all()
            assert proxy.served > 0
        with service(), pytest.raises(ItemError, match="refused"):
            read(f"https://127.0.0.1:{site.port}/scene.tif")


def test_other_hrefs_are_not_opened(tmp_path: Path, cog: np.ndarray) -> None:
    """In service mode neither paths nor names of drivers are opened, wherever they come from."""
    with service():
        for href in (
            str(tmp_path / "scene.tif"),
            f"/vsicurl/http://127.0.0.1/{tmp_path}",
            "<VRTDataset/>",
            "WMS:http://x",
        ):
            with pytest.raises(ItemError, match="expected the URL of a public file"):
                read(href)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_slow_body_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A server that sends a byte now and then holds a connection for a while only, in a tunnel too."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(600):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    context = certified(tmp_path, "slow.test") if scheme == "https" else None
    monkeypatch.setenv("GDAL_CURL_CA_BUNDLE", str(tmp_path / "certificate.pem"))
    with website(drip, context) as site:
        began = time.monotonic()
        with service(f"slow.test:{site.port}", Names(slow_test=["127.0.0.1"]), pace_s=0.5) as proxy:
            with pytest.raises(GeodlError):
                read(f"{scheme}://slow.test:{site.port}/scene.tif")
            assert proxy.served > 0
        assert site.paths
        assert time.monotonic() - began < 20


def test_slow_headers_are_cut() -> None:
    """The headers of an answer have to come within a time, all of them."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        for _ in range(600):
            handler.wfile.write(b"H")
            time.sleep(0.05)

    with website(drip) as site:
        began = time.monotonic()
        with service(f"127.0.0.1:{site.port}", head_s=0.5), pytest.raises(StoreError):
            fetch_text(f"http://127.0.0.1:{site.port}/item.json")
        assert time.monotonic() - began < 10


def test_searches_are_passed_on() -> None:
    """A request with a body reaches an allowed server as it is; one that is too large, or endless, reaches nobody."""
    bodies = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        bodies.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        send(handler, 200, b"found")

    with website(answer) as site, service(f"127.0.0.1:{site.port}") as proxy:
        url, way = f"http://127.0.0.1:{site.port}/search", {"http": proxy.url}
        found = requests.post(url, data=b'{"limit": 1}', proxies=way, timeout=10)
        assert (found.status_code, found.content) == (200, b"found")
        assert requests.post(url, data=bytes(9 << 20), proxies=way, timeout=10).status_code == 413
        assert requests.post(url, data=iter([b"a"]), proxies=way, timeout=10).status_code == 413
    assert bodies == [b'{"limit": 1}']


def test_a_slow_document_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of service mode too, a document that trickles is not waited for without end."""
    monkeypatch.setattr(session, "BODY_S", 0.5)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(600):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    with website(drip) as site, pytest.raises(StoreError, match="too slow"):
        fetch_text(f"http://127.0.0.1:{site.port}/item.json")


def test_the_proxy_is_for_this_process(tmp_path: Path, cog: np.ndarray) -> None:
    """Who does not know the password gets nothing; a request that is no proxy's is refused."""
    with FileServer(tmp_path) as files, service(files.url().split("/")[2]) as proxy:
        proxies = {"http": f"http://{proxy.address}"}
        assert requests.get(files.url("scene.tif"), proxies=proxies, timeout=5).status_code == 407
        proxies = {"http": f"http://geodl:guess@{proxy.address}"}
        assert requests.get(files.url("scene.tif"), proxies=proxies, timeout=5).status_code == 407
        assert requests.get(f"http://{proxy.address}/scene.tif", timeout=5).status_code == 403
        assert not files.requests


def test_a_missing_file_is_no_refusal(tmp_path: Path) -> None:
    """What a server answers passes unchanged."""
    with FileServer(tmp_path) as files, service(files.url().split("/")[2]):
        with pytest.raises(GeodlError) as caught:
            read(files.url("none.tif"))
        assert "refused" not in caught.value.message
        with pytest.raises(ItemError, match="answers 404"):
            fetch_text(files.url("none.json"))


def test_no_proxy_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """libcurl would go past the proxy where NO_PROXY says so; service mode does not start then."""
    monkeypatch.setenv("NO_PROXY", "169.254.169.254")
    with pytest.raises(InputError, match="NO_PROXY"), access_in_force(Access(is_service=True)):
        pass


def test_files_from_elsewhere_name_no_other_files(tmp_path: Path, cog: np.ndarray) -> None:
    """A virtual raster on a server, which could name a file of this machine, is not opened, in any mode."""
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        crs, transform = dataset.crs.to_wkt(), dataset.transform.to_gdal()
    (tmp_path / "evil.tif").write_text(
        f'<VRTDataset rasterXSize="400" rasterYSize="300"><SRS>{crs}</SRS>'
        f'<GeoTransform>{",".join(map(str, transform))}</GeoTransform><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{tmp_path}/scene.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert (read(str(tmp_path / "evil.tif")) == cog).all()
    with FileServer(tmp_path) as files:
        assert (read(files.url("scene.tif")) == cog).all()
        with pytest.raises(StoreError):
            read(files.url("evil.tif"))


def certified(folder: Path, name: str) -> ssl.SSLContext:
    """Return a server's context with a certificate of its own for a name, kept as certificate.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, plain, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context

"""Webhooks: what is told, signed, sent once more, given up; and what is never asked."""

import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from commands import geodl_here
from geodl_core.domain.place.address import read_allowed
from geodl_core.errors import InputError
from geodl_core.service.ledger.cursors import read_cursor
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import failed, lease_work, planned
from geodl_core.service.ledger.runs import cancel_run, history, place_orders
from geodl_core.service.webhooks.deliver import CURSOR, MOST_TRIES, Delivery, deliver_once, gather_once, pause_s
from geodl_core.service.webhooks.post import Message, Sender, post
from geodl_core.service.webhooks.subscriptions import (
    Asked,
    add_webhook,
    list_webhooks,
    read_webhook,
    redeliver,
    remove_webhook,
)
from geodl_core.service.webhooks.tables import DELIVERIES, prepare_webhooks
from ledgers import DAY_S, PERMANENT, TRANSIENT, Clock, an_order, compute, crew, empty_ledger, facts
from ledgers import place as order
from served import serving

BASE = "https://geodl.example.com/"


class Receiver:
    """A receiver of webhooks on the loopback, which answers as it is told."""

    def __init__(self, tls=None):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body, self.path))
                receiver.answer(self)

            def do_GET(self):
                receiver.got.append(("GET", self.path))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                """Say nothing."""

        self.got = []
        self.status = 204
        self.answer = self.plainly
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if tls:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook?token=s3cret"

    def plainly(self, handler):
        handler.send_response(self.status)
        if self.status == 302:
            handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def documents(self):
        return [json.loads(body) for _, body, _ in self.got]


@contextmanager
def receiving(tls=None):
    found = Receiver(tls)
    thread = threading.Thread(target=found.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        found.http.shutdown()
        found.http.server_close()
        thread.join()


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found


@pytest.fixture
def clock():
    return Clock(time.time())


@pytest.fixture
def ledger(place, clock):
    with empty_ledger(place, clock) as opened:
        prepare_webhooks(opened)
        yield opened


HOW = Delivery(BASE, chance=lambda: 0.5)


def subscribe(ledger, receiver, **values):
    return add_webhook(ledger, Asked(receiver.url, is_private=True, **values))


def test_the_end_of_a_run_is_told(ledger, receiver):
    """A run that succeeds is told once, as a CloudEvent with its result, signed by the webhook's secret."""
    webhook, secret = subscribe(ledger, receiver)
    order(ledger, "scene")
    run_id = compute(ledger)
    while deliver_once(ledger, HOW):
        pass
    ((headers, body, path),) = receiver.got
    assert path == "/hook?token=s3cret"
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    document = Verifier(secret).verify(body, headers)
    assert {name: document[name] for name in ("specversion", "type", "subject", "source")} == {
        "specversion": "1.0",
        "type": "org.geodl.run.succeeded",
        "subject": run_id,
        "source": BASE,
    }
    data = document["data"]
    assert (data["status"], data["run"], data["attempt"]) == ("succeeded", run_id, 1)
    assert data["item"] == {"collection": "s2", "id": "scene"}
    assert data["result"]["href"] == f"{BASE}collections/results/items/result"
    assert data["job"] == f"{BASE}jobs/{run_id}"
    assert headers["webhook-id"].startswith(document["id"])
    assert (read_webhook(ledger, webhook.id).delivered, read_webhook(ledger, webhook.id).waiting) == (1, 0)


def test_signatures_are_of_this_secret(ledger, receiver):
    """Neither another secret nor another body passes the receiver's check."""
    _, secret = subscribe(ledger, receiver)
    _, other = subscribe(ledger, receiver)
    order(ledger, "scene")
    compute(ledger)
    deliver_once(ledger, HOW)
    passed = []
    for headers, body, _ in receiver.got:
        for each in (secret, other):
            try:
                Verifier(each).verify(body, headers)
            except WebhookVerificationError:
                continue
            passed.append(each)
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(body + b" ", headers)
    assert sorted(passed) == sorted([secret, other])


def test_only_what_is_asked_for_is_told(ledger, receiver):
    """States and watches of a webhook are kept to; a watch that shares a run with another is told of it."""
    subscribe(ledger, receiver, states=("running", "invalid"), watches=("fields",))
    order(ledger, "other", watch="woods")
    place_orders(ledger, [an_order("scene", watch="woods"), an_order("scene", watch="fields")])
    for _ in range(2):
        work = lease_work(ledger, crew(kinds=("plan",)))
        planned(ledger, work.lease, facts(job=work.run.id))
    for _ in range(4):
        lent = lease_work(ledger, crew(most_shards=2))
        if lent is None:
            break
        failed(ledger, lent.lease, PERMANENT)
    while deliver_once(ledger, HOW):
        pass
    assert [(one["type"], one["data"]["item"]["id"]) for one in receiver.documents()] == [
        ("org.geodl.run.running", "scene"),
        ("org.geodl.run.invalid", "scene"),
    ]
    assert receiver.documents()[1]["data"]["error"]["class"] == "ItemError"


def test_notes_are_no_changes(ledger, clock, receiver):
    """A try that failed, and work handed to somebody else, are told to nobody: the run stays in its state."""
    subscribe(ledger, receiver, states=("queued", "claimed", "running"))
    order(ledger, "scene")
    for _ in range(3):
        failed(ledger, lease_work(ledger, crew()).lease, TRANSIENT)
        clock.wait(60)
    while deliver_once(ledger, HOW):
        pass
    assert [one["data"]["status"] for one in receiver.documents()] == ["queued", "claimed"]


def test_what_was_before_is_not_told(ledger, receiver):
    """A webhook hears of what happens after it was added, whether or not anybody followed history until then."""
    order(ledger, "old")
    compute(ledger)
    subscribe(ledger, receiver)
    order(ledger, "new")
    compute(ledger)
    while deliver_once(ledger, HOW):
        pass
    assert [one["data"]["item"]["id"] for one in receiver.documents()] == ["new"]


def test_refused_messages_are_sent_again_and_given_up(ledger, clock, receiver):
    """Each try waits longer, has the same id and body, and after eight the message is dead until it is revived."""
    webhook, secret = subscribe(ledger, receiver)
    receiver.status = 500
    order(ledger, "scene")
    compute(ledger)
    for tries in range(1, MOST_TRIES + 1):
        assert deliver_once(ledger, HOW) >= 1
        assert deliver_once(ledger, HOW) == 0
        assert len(receiver.got) == tries
        clock.wait(pause_s(tries, 0.5) + 1)
    assert deliver_once(ledger, HOW) == 0
    state = read_webhook(ledger, webhook.id)
    assert (state.delivered, state.waiting, state.dead, state.last_said) == (0, 0, 1, "answered 500")
    assert len({(headers["webhook-id"], body) for headers, body, _ in receiver.got}) == 1
    assert len({headers["webhook-timestamp"] for headers, *_ in receiver.got}) == MOST_TRIES
    receiver.status = 200
    assert redeliver(ledger, webhook.id) == 1
    clock.now = time.time()
    assert deliver_once(ledger, HOW) == 1
    assert read_webhook(ledger, webhook.id).delivered == 1
    assert Verifier(secret).verify(receiver.got[-1][1], receiver.got[-1][0])


def test_redirects_are_not_followed(ledger, receiver):
    """An answer that leads elsewhere is a refusal, and nobody is asked there."""
    webhook, _ = subscribe(ledger, receiver)
    receiver.status = 302
    order(ledger, "scene")
    compute(ledger)
    deliver_once(ledger, HOW)
    assert read_webhook(ledger, webhook.id).last_said == "answered 302"
    assert len(receiver.got) == 1


def test_one_that_is_gone_stops_no_other(ledger, receiver):
    """Messages to a receiver that does not answer do not keep those to others back."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone, _ = add_webhook(ledger, Asked(f"http://127.0.0.1:{port}/", is_private=True))
    subscribe(ledger, receiver)
    order(ledger, "a", "b")
    compute(ledger)
    compute(ledger)
    while deliver_once(ledger, HOW):
        pass
    assert len(receiver.got) == 2
    assert read_webhook(ledger, gone.id).waiting == 2
    assert read_webhook(ledger, gone.id).last_said.startswith("no answer")


def test_receivers_that_dawdle_are_left(receiver):
    """A receiver that sends its answer byte by byte is left after a set time."""

    def slowly(handler):
        try:
            for letter in b"HTTP/1.1 200 OK\r\n" * 20:
                handler.wfile.write(bytes([letter]))
                time.sleep(0.05)
        except OSError:
            pass

    receiver.answer = slowly
    began = time.monotonic()
    taken, said = post(Sender(whole_s=0.4), Message(receiver.url, True, {}, b"{}"))
    assert not taken
    assert said.startswith("no answer")
    assert time.monotonic() - began < 5


def test_bodies_of_answers_are_not_read(receiver):
    """An answer without end counts by its status, and is left at once."""
    sent = []

    def endlessly(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while len(sent) < 10_000:
                handler.wfile.write(b"x" * 65_536)
                sent.append(1)
        except OSError:
            pass

    receiver.answer = endlessly
    assert post(Sender(), Message(receiver.url, True, {}, b"{}")) == (True, "answered 200")
    assert len(sent) < 10_000


@pytest.mark.parametrize(
    ("url", "addresses", "why"),
    [
        ("https://inside.example/", ["10.1.2.3"], "not public"),
        ("https://two.example/", ["93.184.216.34", "127.0.0.1"], "not public"),
        ("https://meta.example/", ["169.254.169.254"], "not public"),
        ("https://six.example/", ["::ffff:127.0.0.1"], "not public"),
        ("https://odd.example:8443/", ["93.184.216.34"], "port 8443"),
        ("https://localhost/", ["127.0.0.1"], "not public"),
        ("https://none.example/", [], "no such host"),
    ],
)
def test_what_is_not_public_is_not_asked(url, addresses, why):
    """A webhook that leads into this machine or network is refused by its address, whatever its name."""
    taken, said = post(Sender(resolve=lambda *_: addresses), Message(url, False, {}, b"{}"))
    assert not taken
    assert why in said


def test_private_webhooks_do_not_reach_the_machines_own_services():
    """Leave for private networks is none for the services of clouds' machines."""
    sender = Sender(resolve=lambda *_: ["169.254.169.254"])
    taken, said = post(sender, Message("http://meta.example/", True, {}, b"{}"))
    assert not taken
    assert "not public" in said


def test_the_address_that_was_judged_is_asked(receiver):
    """The name is looked up once: what it means a moment later does not count."""
    asked = []

    def resolve(host, port):
        asked.append(host)
        return ["127.0.0.1"]

    allowed = read_allowed(f"hooks.example:{receiver.port}")
    message = Message(f"http://hooks.example:{receiver.port}/x", True, {"A": "b"}, b"{}")
    assert post(Sender(allowed, resolve), message) == (True, "answered 204")
    assert asked == ["hooks.example"]
    assert receiver.got[0][0]["Host"] == f"hooks.example:{receiver.port}"


def test_certificates_are_checked(tmp_path):
    """Over https the receiver's certificate has to be that of its name."""
    server, client = _certificate(tmp_path)
    with receiving(server) as found:
        message = f"https://hooks.example:{found.port}/x"
        sender = Sender(resolve=lambda *_: ["127.0.0.1"], tls=client)
        assert post(sender, Message(message, True, {}, b"{}")) == (True, "answered 204")
        other = message.replace("hooks.example", "other.example")
        for wrong in ((sender, other), (Sender(resolve=sender.resolve), message)):
            taken, said = post(wrong[0], Message(wrong[1], True, {}, b"{}"))
            assert not taken
            assert said == "TLS: CERTIFICATE_VERIFY_FAILED"
        assert len(found.got) == 1


def _certificate(folder):
    """TLS of a server called hooks.example, and of a client that believes it."""
    from cryptography import x509  # noqa: PLC0415  # for this test alone
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "public.pem", folder / "private.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, private)
    return server, ssl.create_default_context(cafile=str(public))


@pytest.mark.parametrize(
    "asked",
    [
        Asked("ftp://example.com/"),
        Asked("example.com"),
        Asked("https://"),
        Asked("https://user:password@example.com/"),
        Asked("https://example.com/#x"),
        Asked("https://example.com/a b"),
        Asked("https://example.com:99999/"),
        Asked("http://example.com/"),
        Asked("https://example.com/", states=()),
        Asked("https://example.com/", states=("nearly",)),
        Asked("https://example.com/" + "x" * 3_000),
    ],
)
def test_addresses_that_do_not_serve_are_refused(ledger, asked):
    """What is no address, carries a password, or would be sent in the clear is not kept."""
    with pytest.raises(InputError) as caught:
        add_webhook(ledger, asked)
    assert "password@" not in caught.value.message
    assert list_webhooks(ledger) == []


def test_several_senders_send_each_message_once(ledger, place, receiver):
    """Of several processes each message is made by one and sent by one."""
    subscribe(ledger, receiver)
    order(ledger, *(f"scene{n}" for n in range(12)))
    for _ in range(12):
        compute(ledger, shards=0)

    def send():
        with Ledger(place, clock=ledger.clock) as own:
            while deliver_once(own, HOW):
                pass

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while deliver_once(ledger, HOW):
        pass
    assert sorted(one["data"]["item"]["id"] for one in receiver.documents()) == sorted(f"scene{n}" for n in range(12))


def test_a_message_whose_sender_died_is_sent_again(ledger, clock, receiver):
    """A message that was taken to be sent and of which nothing more was heard is sent by somebody else, later."""
    subscribe(ledger, receiver)
    order(ledger, "scene")
    compute(ledger)
    assert gather_once(ledger, BASE)

    class DiedError(Exception):
        pass

    def die(*_):
        raise DiedError

    with pytest.raises(DiedError):
        deliver_once(ledger, Delivery(BASE, Sender(resolve=die)))
    assert deliver_once(ledger, HOW) == 0
    clock.wait(121)
    assert deliver_once(ledger, HOW) == 1
    assert len(receiver.got) == 1


def test_messages_are_made_with_the_step_of_the_follower(ledger, receiver):
    """How far history was followed and what is to be sent are stored together."""
    subscribe(ledger, receiver)
    order(ledger, "scene")
    cancel_run(ledger, history(ledger, None)[0].run_id)
    assert gather_once(ledger, BASE) == 2
    assert gather_once(ledger, BASE) == 0
    assert read_cursor(ledger, CURSOR) == history(ledger, None)[-1].seq
    with ledger.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(DELIVERIES)).scalar_one() == 1


def test_removed_webhooks_are_told_nothing(ledger, receiver):
    """What waits for a webhook goes with it."""
    webhook, _ = subscribe(ledger, receiver)
    order(ledger, "scene")
    compute(ledger)
    gather_once(ledger, BASE)
    assert remove_webhook(ledger, webhook.id) == 1
    assert deliver_once(ledger, HOW) == 0
    assert receiver.got == []
    with pytest.raises(InputError, match="no webhook"):
        remove_webhook(ledger, webhook.id)


def test_nothing_to_tell_writes_nothing(ledger, receiver):
    """A step with nothing to do takes no turn among the writers."""
    subscribe(ledger, receiver)
    deliver_once(ledger, HOW)
    begun = []
    sa.event.listen(ledger._engine, "begin", lambda connection: begun.append(connection.info.get("writes")))
    assert deliver_once(ledger, HOW) == 0
    assert begun
    assert not any(begun)


@given(tries=st.integers(1, 40), chance=st.floats(0, 1, exclude_max=True))
def test_pauses_have_bounds(tries, chance):
    """Pauses grow fivefold from 5 s, and are twelve hours at most."""
    longest = min(43_200, 5 * 5 ** (tries - 1))
    assert longest / 2 <= pause_s(tries, chance) <= longest


def test_commands_add_test_list_and_remove(tmp_path, receiver):
    """A webhook is added, tried, listed and removed by commands; its secret and the address's are shown just once."""
    catalog = ("--catalog", tmp_path / "catalog.db")
    refused = geodl_here("webhook", "add", receiver.url, *catalog)
    assert refused.returncode == 2
    assert "https" in refused.stderr
    assert "s3cret" not in refused.stderr
    added = geodl_here("webhook", "add", receiver.url, "--watch", "fields", "--allow-private", *catalog)
    assert added.returncode == 0, added.stderr
    words = added.stdout.split()
    webhook_id, secret = words[1], words[3]
    tried = geodl_here("webhook", "test", webhook_id, *catalog)
    assert (tried.returncode, tried.stdout) == (0, "answered 204\n")
    ((headers, body, _),) = receiver.got
    assert Verifier(secret).verify(body, headers)["type"] == "org.geodl.webhook.test"
    receiver.status = 500
    assert geodl_here("webhook", "test", webhook_id, *catalog).returncode == 75
    shown = geodl_here("webhook", "list", *catalog).stdout + geodl_here("webhook", "list", "--json", *catalog).stdout
    assert webhook_id in shown
    assert "fields" in shown
    assert secret not in shown
    assert "s3cret" not in shown
    assert "0 message" in geodl_here("webhook", "redeliver", webhook_id, *catalog).stdout
    assert geodl_here("webhook", "remove", webhook_id, *catalog).returncode == 0
    assert geodl_here("webhook", "list", *catalog).stdout == "no webhooks\n"


def test_a_server_tells_where_it_is(tmp_path, receiver):
    """Messages of a server on the loopback lead to its own job."""
    with Ledger(str(tmp_path / "catalog.db")) as ledger, serving(tmp_path / "catalog.db", tmp_path / "log") as (_, url):
        prepare_webhooks(ledger)
        subscribe(ledger, receiver)
        (run_id,) = order(ledger, "scene")
        cancel_run(ledger, run_id)
        deadline = time.monotonic() + 30
        while not receiver.got:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (message,) = receiver.documents()
        assert message["source"] == f"{url}/"
        assert requests.get(message["data"]["job"], timeout=10).json()["jobID"] == run_id


def test_one_that_does_not_take_messages_is_tried_once_a_step(ledger, receiver):
    """A receiver that has refused one message keeps the others waiting for one try only, however many wait for it."""
    with receiving() as deaf:
        deaf.status = 500
        subscribe(ledger, deaf)
        subscribe(ledger, receiver)
        order(ledger, "a", "b", "c")
        for _ in range(3):
            compute(ledger)
        deliver_once(ledger, HOW)
        assert len(deaf.got) == 1
        assert len(receiver.got) == 3


def test_messages_that_are_dead_for_long_are_forgotten(ledger, clock, receiver):
    """A receiver that is gone for good does not fill the ledger for ever."""
    webhook, _ = subscribe(ledger, receiver)
    receiver.status = 410
    order(ledger, "old", "new")
    for _ in range(2):
        compute(ledger)
        for tries in range(1, MOST_TRIES + 1):
            deliver_once(ledger, HOW)
            clock.wait(pause_s(tries, 0.5) + 1)
        assert read_webhook(ledger, webhook.id).dead == 1
        clock.wait(60 * DAY_S)

"""The page for people: safe to open, out of the way of programs, and all that it asks for is there."""

import base64
import hashlib
import re
from urllib.parse import urlencode

import pytest

from applications import application
from geodl_core.domain.scan.windows import Window
from geodl_core.errors import DataError
from geodl_core.service.access.auth import Rules
from geodl_core.service.ledger.leases import lease_work
from geodl_core.service.pages.ui_page import HERE, SCRIPTS, prefers_html
from geodl_core.service.scans.scans import Asked, fail_scan, lease_scan, open_scan
from geodl_core.service.server.app import ServerOptions
from ledgers import crew, place

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
PROGRAMS = (None, "*/*", "application/json", "application/json, text/plain, */*", "text/html, application/json")
PROGRAMS += (
    "application/geo+json,application/json;q=0.9,text/html;q=0.5",
    "text/plain",
    "text/*",
    "text/html;q=0, */*",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that asks for no tokens."""
    with application(tmp_path_factory.mktemp("ui")) as found:
        yield found


@pytest.fixture(scope="module")
def page(server):
    """The page as it is served."""
    return server.api.get("/ui")


def landing(server, accept):
    """Ask for the root with an `Accept` header, or with none."""
    request = server.api.build_request("GET", "/")
    del request.headers["Accept"]
    if accept is not None:
        request.headers["Accept"] = accept
    return server.api.send(request)


def test_only_its_own_script_and_style_count(page):
    """The policy allows nothing but the page's script and style, by their hashes, and pictures of the server."""
    rules = dict(one.split(" ", 1) for one in page.headers["Content-Security-Policy"].split("; "))
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (inside,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert (rules["connect-src"], rules["img-src"]) == ("'self'", "'self' blob: data:")
    assert rules["require-trusted-types-for"] == "'script'"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_it_loads_nothing_from_elsewhere_and_makes_no_markup(page):
    """No address of another server, no inline handlers or styles, and no way by which a text could become markup."""
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", page.text.replace("http://www.w3.org/2000/svg", ""))
    markup = (HERE / "ui.html").read_text()
    assert not re.findall(r"\s(?:on[a-z]+|style)=", markup)
    script = "".join((HERE / name).read_text() for name in SCRIPTS)
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|localStorage|cookie"
    )
    assert not re.findall(forbidden, script)
    assert not re.findall(r"[?&](?:access_)?token=", script)


def test_its_parts_fit_together(page):
    """Each id that the script looks for is in the page once; each label, and each link inside it, has its target."""
    markup = (HERE / "ui.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', markup)
    assert len(ids) == len(set(ids))
    script = "".join((HERE / name).read_text() for name in SCRIPTS)
    wanted = set(re.findall(r"\bat\('([^']+)'\)", script))
    wanted |= set(re.findall(r'(?:for|aria-labelledby)="([^"]+)"', markup)) | set(
        re.findall(r'href="#([^"]+)"', markup)
    )
    assert len(wanted) > 40
    assert wanted <= set(ids)
    assert 'lang="en"' in page.text


@pytest.mark.parametrize("accept", PROGRAMS)
def test_programs_get_the_landing_page_as_ever(server, accept):
    """Who does not prefer HTML gets the API's landing page, which does not know of the page."""
    answer = landing(server, accept)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == server.api.get("/", headers={"Accept": "application/json"}).json()
    assert (answer.json()["type"], "Accept" in answer.headers["Vary"]) == ("Catalog", True)
    assert not [link for link in answer.json()["links"] if link["href"].endswith("/ui")]


def test_browsers_get_the_page(server, page):
    """A browser that asks for the root gets the page; caches are told that it depends; other paths stay as they are."""
    answer = landing(server, BROWSER)
    assert (answer.text, answer.headers["Vary"]) == (page.text, "Accept")
    assert answer.headers["Content-Security-Policy"] == page.headers["Content-Security-Policy"]
    head = server.api.head("/", headers={"Accept": BROWSER})
    assert (head.status_code, head.text, head.headers["content-type"]) == (200, "", "text/html; charset=utf-8")
    assert server.api.get("/collections", headers={"Accept": BROWSER}).json()["collections"]
    assert server.api.post("/", headers={"Accept": BROWSER}).status_code == 405


@pytest.mark.parametrize("accept", ["text/html;q=x", "text/html;q=0", "", ";;,", "text/html;q=0.4,*/*;q=0.5"])
def test_odd_accept_headers_are_no_browsers(accept):
    """A header that cannot be read, or gives HTML no more weight, does not ask for the page."""
    assert not prefers_html(accept)
    assert prefers_html("TEXT/HTML ; charset=utf-8 , */*;q=0.1")


def test_the_page_is_open_and_what_it_shows_is_not(tmp_path):
    """On a private server the page comes without a token, so that it can ask for one; data needs the token."""
    with application(tmp_path, ServerOptions(rules=Rules(is_private=True))) as server:
        for path in ("/ui", "/"):
            assert server.api.get(path, headers={"Accept": BROWSER}).status_code == 200
        paths = ("/jobs", "/events", "/watches", "/workers", "/scans", "/metrics", "/search", "/")
        assert [server.api.get(path).status_code for path in paths] == [401] * len(paths)
        token = server.token("read")
        for path in ("/workers", "/scans"):
            assert server.api.get(path, headers=token).status_code == 200
        assert server.api.post("/ui", headers=token).status_code == 403


def test_what_it_asks_for_is_there(server):
    """The requests of the page are such as the routes understand."""
    query = {"limit": 12, "sortby": "-properties.created", "filter": '"geodl:model" IS NOT NULL'}
    query |= {"filter-lang": "cql2-text", "fields": "id,collection,assets,properties"}
    found = server.api.get(f"/search?{urlencode(query)}")
    assert (found.status_code, found.json()["features"]) == (200, [])
    found = server.api.get("/jobs?limit=50&state=claimed&state=running&watch=x")
    assert (found.status_code, found.json()["jobs"]) == (200, [])
    for name in ("sortby", "geodl:model", "cql2-text", "id,collection,assets,properties"):
        assert name in (HERE / "ui_main.js").read_text()


def test_workers_say_what_they_do(tmp_path):
    """A worker that has work is told with it, one that has ended it without; one not heard of for long is not told."""
    with application(tmp_path) as server:
        assert server.api.get("/workers").json() == {"workers": []}
        place(server.services.ledger, "a")
        work = lease_work(server.services.ledger, crew())
        (found,) = server.api.get("/workers").json()["workers"]
        assert found["doing"] == f"plan of {work.run.id[:8]}"
        assert (found["name"], found["roles"]) == (crew().name, list(crew().kinds))
        assert server.api.delete(f"/jobs/{work.run.id}").status_code == 200
        (found,) = server.api.get("/workers").json()["workers"]
        assert found["doing"] is None


def test_scans_say_how_far_they_are(tmp_path):
    """Scans and back-fills are told newest first, with their window, counts and what stopped them, without leases."""
    with application(tmp_path) as server:
        ledger = server.services.ledger
        assert server.api.get("/scans").json() == {"scans": []}
        open_scan(ledger, Asked("fields", "scan", Window(0.0, 86_400.0)))
        fail_scan(ledger, lease_scan(ledger), DataError("page 1: no JSON"))
        open_scan(ledger, Asked("fields", "backfill", Window(0.0, 864_000.0), budget=7))
        newest, oldest = server.api.get("/scans").json()["scans"]
        assert (newest["kind"], newest["state"], newest["budget"], newest["error"]) == ("backfill", "open", 7, None)
        assert (oldest["since"], oldest["until"]) == ("1970-01-01T00:00:00.000Z", "1970-01-02T00:00:00.000Z")
        assert oldest["error"]["message"] == "page 1: no JSON"
        assert oldest["counts"] == dict.fromkeys(("pages", "found", "matched", "ordered", "present"), 0)
        assert not {"lease", "place", "api"} & set(newest)
        assert len(server.api.get("/scans?limit=1").json()["scans"]) == 1
        assert server.api.get("/scans?limit=0").status_code == 400

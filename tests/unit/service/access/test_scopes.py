"""Which scope a request needs."""

import pytest

from geodl_core.service.access.scopes import SCOPES, granted, needed_scope, rule_for


@pytest.mark.parametrize(
    ("request_", "scope"),
    [
        ("GET /", "read"),
        ("HEAD /collections/c/items/i", "read"),
        ("GET /collections/c/items/i/assets/a/file/a.tif", "read"),
        ("HEAD /collections/c/items/i/assets/a/file/a.tif", "read"),
        ("GET /search", "read"),
        ("POST /search", "read"),
        ("POST /collections/c/aggregate", "read"),
        ("POST /collections/aggregate", "publish"),
        ("POST /collections/c/items/aggregate", "publish"),
        ("POST /collections/c/items", "publish"),
        ("PUT /collections/c/items/i", "publish"),
        ("PATCH /collections/c", "publish"),
        ("DELETE /collections/c", "publish"),
        ("POST /publish", "publish"),
        ("POST /processes/landcover/execution", "publish"),
        ("DELETE /jobs/0123", "publish"),
        ("GET /jobs/0123/results", "read"),
        ("GET /watches", "read"),
        ("POST /watches/test", "read"),
        ("POST /watches/fields/test", "read"),
        ("PUT /watches/fields", "admin"),
        ("POST /watches/fields/pause", "admin"),
        ("GET /webhooks", "admin"),
        ("GET /webhooks/0123", "admin"),
        ("POST /webhooks", "admin"),
        ("POST /leases", "worker"),
        ("GET /leases/x/beat", "worker"),
        ("GET /metrics", "read"),
        ("GET /scans", "read"),
        ("GET /workers", "read"),
        ("GET /ui", "open"),
        ("POST /ui", "admin"),
        ("GET /healthz", "open"),
        ("HEAD /readyz", "open"),
        ("POST /healthz", "admin"),
    ],
)
def test_each_kind_of_request_has_its_scope(request_, scope):
    """Reads and searches need `read`, publishing and runs `publish`, workers `worker`, the rest an administrator."""
    method, _, path = request_.partition(" ")
    assert needed_scope(method, path) == scope
    if path.count("/") > 1:
        # A line end in an id is a letter like others.
        assert needed_scope(method, path.replace("0123", "01\n23").replace("fields", "fi\nelds")) == scope


def test_what_no_rule_is_about_is_refused_to_all_but_administrators():
    """A route that was forgotten can be read like others, and changed by administrators alone."""
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        assert rule_for(method, "/somewhere/new") is None
        assert needed_scope(method, "/somewhere/new") == "admin"
    assert needed_scope("GET", "/somewhere/new") == "read"


@pytest.mark.parametrize("path", ["/healthz/", "/x/healthz", "//healthz", "/healthz\n", "/HEALTHZ"])
def test_only_the_probes_themselves_are_open(path):
    """A path that merely resembles a probe's is not open."""
    assert needed_scope("GET", path) == "read"


def test_scopes_include_one_another():
    """`publish` includes `read`, `admin` everything; `worker` is good for work alone."""
    assert granted(["publish"]) == {"read", "publish"}
    assert granted(["admin"]) == set(SCOPES)
    assert granted(["worker"]) == {"worker"}
    assert granted(["worker", "read"]) == {"worker", "read"}
    assert granted(["nonsense"]) == frozenset()

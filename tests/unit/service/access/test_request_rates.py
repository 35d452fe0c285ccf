"""Budgets of requests."""

from geodl_core.service.access.rates import Budgets, Rates, address_of, kind_of


def scope(method="GET", path="/", client="10.0.0.1", **headers):
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "client": (client, 1), "headers": encoded}


def test_budgets_are_apart():
    """Reads of one caller use up neither its writes nor the reads of another; the wait is a minute at most."""
    budgets = Budgets(Rates(reads=5, writes=2))
    assert [budgets.spend("read", "a") for _ in range(5)] == [None] * 5
    wait_s = budgets.spend("read", "a")
    assert 1 <= wait_s <= 60
    assert [budgets.spend("write", "a") for _ in range(2)] == [None] * 2
    assert budgets.spend("write", "a") is not None
    assert budgets.spend("read", "b") is None


def test_zero_does_not_limit():
    """A budget of zero is none."""
    budgets = Budgets(Rates(reads=0, writes=1))
    assert all(budgets.spend("read", "a") is None for _ in range(1_000))
    assert budgets.spend("write", "a") is None
    assert budgets.spend("write", "a") is not None


def test_kinds_of_requests():
    """Searches by POST and what workers say count as reads, whatever else changes something as a write."""
    reads = (("GET", "/x"), ("HEAD", "/"), ("POST", "/search"), ("POST", "/leases"))
    writes = (("POST", "/collections"), ("DELETE", "/jobs/1"), ("PUT", "/watches/a"))
    assert {kind_of(scope(*each)) for each in reads} == {"read"}
    assert {kind_of(scope(*each)) for each in writes} == {"write"}


def test_addresses():
    """A proxy's last word counts, and only where there is a proxy; neighbours in one IPv6 network are one caller."""
    forwarded = scope(x_forwarded_for="1.2.3.4, 203.0.113.9")
    assert address_of(forwarded, is_proxied=True) == "203.0.113.9"
    assert address_of(forwarded, is_proxied=False) == "10.0.0.1"
    assert address_of(scope(), is_proxied=True) == "10.0.0.1"
    assert address_of(scope(client="2001:db8::1"), False) == address_of(scope(client="2001:db8::ffff:2"), False)
    assert address_of(scope(client="2001:db8::1"), False) != address_of(scope(client="2001:db8:0:1::1"), False)
    assert address_of({**scope(), "client": None}, False) == "unknown"
    assert len(address_of(scope(x_forwarded_for="x" * 5_000), True)) <= 60

"""What the options of `geodl serve` mean."""

import pytest

from geodl_core.cli.serve_options import told_address


@pytest.mark.parametrize(
    ("host", "names", "is_proxied", "expected"),
    [
        ("127.0.0.1", (), False, "http://127.0.0.1:8123/"),
        ("::1", (), False, "http://[::1]:8123/"),
        ("10.0.0.5", (), False, "http://10.0.0.5:8123/"),
        ("127.0.0.1", ("stac.example.com", "other"), True, "https://stac.example.com/"),
        ("0.0.0.0", ("stac.example.com",), False, "http://stac.example.com:8123/"),
        ("0.0.0.0", (), False, None),
        ("::", (), False, None),
        ("127.0.0.1", (), True, None),
    ],
)
def test_webhooks_are_told_the_address_that_others_reach(host, names, is_proxied, expected):
    """It is the public name where there is one, else the server's own; where neither is known there is none."""
    assert told_address(host, 8123, names, is_proxied=is_proxied) == expected

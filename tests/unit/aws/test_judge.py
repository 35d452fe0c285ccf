"""Who may do what over HTTP on AWS."""

import hashlib

import pytest

from geodl_core.aws.api.judge import gateway_scopes, judge
from geodl_core.aws.site.secrets import KnownToken

TEXT = "gdl_" + "a" * 40
TOKENS = (KnownToken("ci", hashlib.sha256(TEXT.encode()).hexdigest(), ("publish",)),)


def status(needed, headers=None, authorizer=None):
    event = {} if authorizer is None else {"requestContext": {"authorizer": authorizer}}
    refusal = judge(lambda _: TOKENS, event, headers or {}, needed)
    return None if refusal is None else refusal.status


def test_a_token_opens_what_it_is_good_for():
    """A known token lets in up to its scope; another kind, another token or none does not, and says how to ask."""
    bearer = {"Authorization": f"Bearer {TEXT}"}
    assert status("read", bearer) is status("publish", bearer) is None
    assert status("admin", bearer) == 403
    assert status("read", {"authorization": f"Bearer {TEXT}b"}) == 401
    assert status("read", {"authorization": "Basic eDp5"}) == 401
    refusal = judge(lambda _: TOKENS, {}, {}, "read")
    assert refusal.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("authorizer", "scopes"),
    [
        ({"iam": {"userArn": "arn:aws:iam::1:user/x"}}, ("admin",)),
        ({"jwt": {"claims": {"scope": "openid read"}, "scopes": None}}, ("read",)),
        ({"jwt": {"claims": {}, "scopes": ["publish"]}}, ("publish",)),
        ({"lambda": {"scopes": "read publish"}}, ("read", "publish")),
        ({"lambda": {"isOpen": True}}, ()),
        ({"iam": None}, ()),
        ({}, ()),
    ],
)
def test_the_gateway_opens_what_its_authorizer_says(authorizer, scopes):
    """IAM lets in to everything; a JWT or a function of one's own to the scopes of geodl that it names, and no more."""
    assert gateway_scopes(authorizer) == scopes
    assert (status("admin", authorizer=authorizer) is None) == ("admin" in scopes)
    assert (status("read", authorizer=authorizer) is None) == bool(scopes)

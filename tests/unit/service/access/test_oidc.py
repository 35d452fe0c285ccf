"""Tokens of an identity provider."""

import hmac
import json
import time
import warnings
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import JWSRegistry

from geodl_core.errors import CatalogError, InputError
from geodl_core.service.access.oidc import ALGORITHMS, PAUSE_S, Bearer, Issuer, OidcOptions
from identity import AUDIENCE, provider
from ledgers import Clock

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def idp():
    with provider() as found:
        yield found


@pytest.fixture
def clock():
    return Clock(time.time())


@pytest.fixture
def issuer(idp, clock):
    return Issuer(OidcOptions(idp.issuer, AUDIENCE, allows_http_loopback=True), clock)


def encoded(value):
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_of_the_provider_is_believed(idp, issuer, algorithm):
    """Tokens signed with any of the provider's keys say who asks and what may be done."""
    token = idp.token(algorithm) if algorithm != "EdDSA" else quietly(lambda: idp.token(algorithm))
    assert issuer.verify(token) == Bearer("ada", ("publish",))


def quietly(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return make()


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "geodl:admin email"}, ("admin",)),
        ({"scope": None, "scp": ["geodl.read"]}, ("read",)),
        ({"scope": "", "roles": ["geodl:worker", "other"]}, ("worker",)),
        ({"scope": None, "groups": ["geodl:read", "geodl:publish"]}, ("read", "publish")),
        ({"scope": "admin publish"}, ()),
        ({"scope": "xgeodl:admin geodl:administrator"}, ()),
        ({"scope": 7, "roles": {"geodl:admin": 1}}, ()),
    ],
)
def test_scopes_come_from_claims(idp, issuer, claims, scopes):
    """What a caller may do stands in one of the usual claims, under geodl's own names and under no others."""
    assert issuer.verify(idp.token(**claims)) == Bearer("ada", scopes)


def test_wrong_claims_are_not_believed(idp, issuer):
    """Tokens of others, for others, of another time, or for ever are not believed."""
    now = time.time()
    for claims in (
        {"aud": "other"},
        {"aud": ["other", "another"]},
        {"aud": None},
        {"iss": f"{idp.issuer}/"},
        {"iss": None},
        {"exp": now - 60},
        {"exp": None},
        {"exp": "never"},
        {"nbf": now + 600},
        {"sub": None},
    ):
        assert isinstance(issuer.verify(idp.token(**claims)), str), claims
    assert isinstance(issuer.verify(idp.token(aud=["other", AUDIENCE])), Bearer)


def test_other_signatures_are_not_believed(idp, issuer):
    """No signature, a symmetric one made with a public key, another's key under a known name: none is believed."""
    good = idp.token()
    header, payload, signature = good.split(".")
    claims = json.loads(_decoded(payload))
    forged = [
        f"{encoded({'alg': 'none'})}.{payload}.",
        f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{payload}.{signature}",
        f"{header}.{encoded(claims | {'scope': 'geodl:admin'})}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        good + ".x",
        "eyJ.eyJ.x",
        idp.token(key=RSAKey.generate_key(2048, {"kid": "rsa"})),
        idp.token("ES256", header={"kid": "rsa"}),
    ]
    # A verifier that lets the token choose takes the public key, which everybody has, for a shared secret.
    start = f"{encoded({'alg': 'HS256', 'kid': 'rsa', 'typ': 'JWT'})}.{payload}"
    mac = hmac.digest(idp.keys["RS256"].as_pem(private=False), start.encode(), "sha256")
    forged.append(f"{start}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    for token in forged:
        assert isinstance(issuer.verify(token), str), token
    assert "RS256" in issuer.verify(forged[0])
    assert isinstance(issuer.verify(good), Bearer)


def _decoded(part):
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_symmetric_keys_that_are_published_are_ignored(idp, issuer):
    """A provider that publishes a shared secret by mistake lets nobody sign with it."""
    secret = OctKey.generate_key(256, {"kid": "oct"})
    idp.published = {"keys": [secret.as_dict(private=True), idp.keys["RS256"].as_dict(private=False)]}
    assert isinstance(issuer.verify(idp.token("HS256", key=secret)), str)
    assert isinstance(issuer.verify(idp.token()), Bearer)


def test_other_kinds_of_tokens_are_not_believed(idp, issuer):
    """An access token says that it is a JWT; tokens made for another end are not believed."""
    assert isinstance(issuer.verify(idp.token(header={"typ": "at+jwt"})), Bearer)
    for kind in ("logout+jwt", "dpop+jwt", "secevent+jwt"):
        assert "expected a JWT" in issuer.verify(idp.token(header={"typ": kind}))


def test_keys_are_asked_for_once_and_renewed(idp, issuer, clock):
    """Keys are kept; a new one is found when a token names it, though not asked for more than once in half a minute."""
    for _ in range(5):
        assert isinstance(issuer.verify(idp.token()), Bearer)
    assert idp.site.paths == ["/realm/.well-known/openid-configuration", "/keys"]
    idp.keys["RS256"] = RSAKey.generate_key(2048, {"kid": "newer"})
    token = idp.token()
    assert issuer.verify(token) == "signed with a key that the provider does not publish"
    assert len(idp.site.paths) == 2
    clock.wait(PAUSE_S)
    assert isinstance(issuer.verify(token), Bearer)
    assert len(idp.site.paths) == 4
    for _ in range(5):
        issuer.verify(idp.token(header={"kid": "unknown"}))
    assert len(idp.site.paths) == 4


def test_a_provider_that_is_away(idp, issuer, clock):
    """Without its keys nothing can be said; once they are known they serve until it is back."""
    idp.is_down = True
    with pytest.raises(CatalogError, match="not to be had now"):
        issuer.verify(idp.token())
    idp.is_down = False
    clock.wait(PAUSE_S)
    assert isinstance(issuer.verify(idp.token()), Bearer)
    idp.is_down = True
    clock.wait(7_200)
    assert isinstance(issuer.verify(idp.token(exp=clock.now + 300)), Bearer)


def test_a_configuration_of_somebody_else_is_not_taken(idp, issuer, clock):
    """A configuration that names another issuer, or keys that are not had over https, gives no keys."""
    for more in ({"issuer": "http://127.0.0.1:1/realm"}, {"jwks_uri": "http://example.com/keys"}, {"jwks_uri": 5}):
        idp.more = more
        with pytest.raises(CatalogError):
            issuer.verify(idp.token())
        clock.wait(PAUSE_S)


@pytest.mark.parametrize(
    "address",
    [
        *("http://idp.example.com", "http://127.0.0.1:8080", "ftp://idp.example.com", "idp.example.com", ""),
        *("https://user@idp.example.com", "https://idp.example.com/?a=b"),
    ],
)
def test_providers_are_asked_over_https_alone(address):
    """An address without TLS is refused, of this machine too unless that is allowed."""
    with pytest.raises(InputError, match="expected an https address"):
        OidcOptions(address, AUDIENCE)
    if address != "http://127.0.0.1:8080":
        with pytest.raises(InputError):
            OidcOptions(address, AUDIENCE, allows_http_loopback=True)
    with pytest.raises(InputError, match="audience"):
        OidcOptions("https://idp.example.com", "")


def test_the_library_knows_the_algorithms():
    """Each algorithm that is accepted is one that the library has, and none of them is symmetric."""
    assert set(ALGORITHMS) <= set(JWSRegistry.algorithms)
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]

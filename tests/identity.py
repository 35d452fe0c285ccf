"""An identity provider on the loopback: its configuration, its keys, and tokens that it signs."""

import json
import time
from contextlib import contextmanager

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from websites import send, website

AUDIENCE = "geodl"


class Provider:
    """What a provider publishes; a test may change all of it."""

    def __init__(self):
        self.keys = {
            "RS256": RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"}),
            "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
            "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
        }
        self.port = 0
        self.site = None
        self.is_down = False
        self.more = {}
        """Of the configuration."""
        self.published = None
        """Keys, as JSON, in place of its own."""

    @property
    def issuer(self):
        return f"http://127.0.0.1:{self.port}/realm"

    def answer(self, handler):
        if self.is_down:
            send(handler, 503)
        elif handler.path == "/realm/.well-known/openid-configuration":
            found = {"issuer": self.issuer, "jwks_uri": f"http://127.0.0.1:{self.port}/keys"} | self.more
            send(handler, 200, json.dumps(found).encode())
        elif handler.path == "/keys":
            keys = self.published or KeySet(list(self.keys.values())).as_dict(private=False)
            send(handler, 200, json.dumps(keys).encode())
        else:
            send(handler, 404)

    def token(self, algorithm="RS256", key=None, header=None, **claims):
        """Return a token of somebody who may publish; a claim of None is left out."""
        now = int(time.time())
        said = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "iat": now, "nbf": now, "exp": now + 300}
        said |= {"scope": "openid geodl:publish"} | claims
        used = key or self.keys[algorithm]
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": used.kid} | (header or {}), kept, used, [algorithm])


@contextmanager
def provider():
    """A provider that answers."""
    found = Provider()
    with website(found.answer) as site:
        found.port, found.site = site.port, site
        yield found

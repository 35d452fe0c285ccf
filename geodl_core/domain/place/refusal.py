"""What a store's refusal means: which place, and which leave is missing."""

import re
from typing import Literal

from geodl_core.domain.place.href import hide_secrets
from geodl_core.errors import RefusedError

Act = Literal["read", "write", "remove", "list"]
"""What was to be done with a file, or with a folder."""
NEEDED: dict[Act, str] = {
    # Who may not list a bucket is not told that something is not there: he is refused.
    "read": "s3:GetObject; s3:ListBucket where it is not there",
    "write": "s3:PutObject",
    "remove": "s3:DeleteObject",
    "list": "s3:ListBucket",
}
"""On S3, where it does not say so itself."""
_SAID = re.compile(r"not authorized to perform: ([\w-]+:\w+)")
HINT = "are the credentials of the store set in the environment, and may they do this?"


def refusal(location: str, act: Act, said: str = "") -> RefusedError:
    """Return the error of somebody who may not use a place of his own.

    Args:
        location: path or URL.
        act: what was to be done.
        said: what the store answers; it may name the permission, as that for a key.
    """
    named = _SAID.search(said)
    needed = named[1] if named else NEEDED[act] if location.startswith(("s3://", "s3a://")) else None
    leave = f"expected leave to {act} it" + (f" ({needed})" if needed else "")
    return RefusedError(f"{hide_secrets(location)}: access is refused: {leave}", HINT)

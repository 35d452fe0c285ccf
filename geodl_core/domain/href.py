"""Hrefs as they may be shown."""

import re

CREDENTIALS = re.compile(r"//[^/?#]*@")


def hide_secrets(href: str) -> str:
    """Return an href without query, fragment, user and password, where signatures and credentials stand.

    A path is left as it is.
    """
    if "://" not in href:
        return href
    return CREDENTIALS.sub("//", re.split("[?#]", href, maxsplit=1)[0])

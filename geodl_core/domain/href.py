"""Hrefs as they may be shown."""

from urllib.parse import urlsplit, urlunsplit


def hide_secrets(href: str) -> str:
    """Return an href without query, fragment, user and password, where signatures and credentials stand."""
    if "://" not in href:
        return href
    parts = urlsplit(href)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

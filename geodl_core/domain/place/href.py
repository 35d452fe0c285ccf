"""Hrefs: as they may be shown, with what geodl notes in them, and what they may name."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlencode

from geodl_core.errors import ItemError

CREDENTIALS = re.compile(r"//[^/?#]*@")
# In a text: what follows the ? of a URL, and user and password.
URL_SECRETS = re.compile(r"(?<=://)[^/?#\s'\"<>]*@|(?<=[\w/%.~=-])\?[^\s'\"<>()]*=[^\s'\"<>()]*")
NOTE = "#geodl:"
"""A fragment: it never reaches a server, is not shown, and goes with the href into a plan."""
VERSION = "version"
"""Note that tells one content of a URL from another."""
WEB = ("http://", "https://")
INLINE = re.compile(r"\s*<|(WMS|WMTS):", re.IGNORECASE)
VARIABLE = re.compile(r'(?:netcdf|hdf5):"?(?P<file>(?:[a-z]:)?[^":]+)"?:.+', re.IGNORECASE)
"""GDAL's name of a variable in a file."""
PUBLIC_SCHEMES = ("http://", "https://", "s3://", "gs://", "az://")
BUCKET = re.compile(r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*/.+")


def hide_secrets(href: str) -> str:
    """Return an href without query, fragment, user and password, where signatures and credentials stand.

    A path is left as it is.
    """
    if is_inline(href):
        return f"{href.strip()[:12]}…"
    if "://" not in href and not href.startswith("/vsi"):
        return href
    return CREDENTIALS.sub("//", re.split("[?#]", href, maxsplit=1)[0])


def file_of(href: str) -> str:
    """Return the path that an href names, of the file that a variable lies in too; other URLs are left as they are."""
    variable = VARIABLE.fullmatch(href)
    if variable:
        return variable["file"]
    return unquote(href.removeprefix("file://")) if href.startswith("file://") else href


def is_inline(href: str) -> bool:
    """Say whether an href is itself the description of a raster or service that GDAL asks for pixels."""
    return INLINE.match(href) is not None


def scrub(text: str) -> str:
    """Return a text of somebody else's, such as an error's, without the queries and credentials of URLs in it."""
    return URL_SECRETS.sub("", text)


def with_notes(href: str, notes: Mapping[str, str]) -> str:
    """Return an href that carries notes for whoever opens it."""
    return href + NOTE + urlencode(notes) if notes else href


def split_notes(href: str) -> tuple[str, dict[str, str]]:
    """Return an href as it was, and the notes."""
    plain, _, notes = href.partition(NOTE)
    return plain, dict(parse_qsl(notes))


def with_note(href: str, name: str, value: str) -> str:
    """Return an href with one more note, or another value of it."""
    plain, notes = split_notes(href)
    return with_notes(plain, {**notes, name: value})


def require_public(href: str, asset: str) -> None:
    """Make sure that an href is a URL of a web server or bucket, and nothing else that GDAL would take for a name.

    Raises:
        ItemError: a path, another scheme, a name of a driver, a bucket that is none.
    """
    plain = split_notes(href)[0]
    is_url = plain.startswith(PUBLIC_SCHEMES) and plain.isprintable() and "\\" not in plain
    if not is_url or (not plain.startswith("http") and not BUCKET.fullmatch(plain)):
        shown = hide_secrets(plain)[:80]
        raise ItemError(
            f"asset {asset}: expected the URL of a public file, found {shown!r}",
            hint="Items from elsewhere may name http(s)://, s3://, gs:// and az:// alone",
        )

"""Settings: what the environment says, and what holds where it says nothing."""

from pathlib import Path

import pytest

from geodl_core.settings import Settings


@pytest.mark.parametrize(
    ("env", "cache"),
    [
        ({"GEODL_CACHE": "/a", "XDG_CACHE_HOME": "/b", "LOCALAPPDATA": "/c"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b", "LOCALAPPDATA": "/c"}, Path("/b/geodl")),
        ({"LOCALAPPDATA": "/c"}, Path("/c/geodl")),
        ({"GEODL_CACHE": "", "XDG_CACHE_HOME": ""}, Path.home() / ".cache" / "geodl"),
        ({}, Path.home() / ".cache" / "geodl"),
    ],
)
def test_the_cache(env: dict[str, str], cache: Path) -> None:
    """The cache lies where geodl's variable says, else in the user's caches; an empty variable says nothing."""
    assert Settings.from_env(env).cache == cache


def test_the_catalog_lies_with_the_results() -> None:
    """Without a catalog of its own a folder of results has one within."""
    assert Settings.from_env({"GEODL_OUT": "/x"}).catalog == "/x/catalog.db"
    assert Settings.from_env({"GEODL_OUT": "/x", "GEODL_CATALOG": "https://c"}).catalog == "https://c"


@pytest.mark.parametrize(("text", "is_debugging"), [("", False), ("0", False), ("1", True)])
def test_debugging(text: str, is_debugging: bool) -> None:
    """Debugging is on where the variable is anything but empty or 0."""
    assert Settings.from_env({"GEODL_DEBUG": text}).is_debugging == is_debugging

"""Packages of models that are kept by their content."""

import hashlib
import os
from pathlib import Path

import pytest

from geodl_core.io.package import kept_package
from geodl_core.io.package.kept_package import FOLDER, fetch_package

CONTENT = b"a model"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Source:
    """Where a package is fetched from."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content, self.fetched = content, 0

    def __call__(self, target: Path) -> None:
        self.fetched += 1
        target.write_bytes(self.content)


def test_a_package_is_fetched_once(tmp_path: Path) -> None:
    """The second who needs a package gets the kept one, as a file of their own."""
    source = Source()
    for number in range(3):
        target = tmp_path / f"{number}.dlpk"
        assert fetch_package(tmp_path / "cache", DIGEST, source, target)
        assert target.read_bytes() == CONTENT
        target.write_bytes(b"spoilt by its owner")
    assert source.fetched == 1
    assert [path.name for path in (tmp_path / "cache" / FOLDER).iterdir()] == [f"{DIGEST}.dlpk"]


@pytest.mark.parametrize("spoilt", [b"", b"a modem", CONTENT + b"!"])
def test_a_spoilt_package_is_fetched_again(tmp_path: Path, spoilt: bytes) -> None:
    """What was kept is believed only by its hash, and replaced where that is wrong."""
    source, kept = Source(), tmp_path / FOLDER / f"{DIGEST}.dlpk"
    kept.parent.mkdir()
    kept.write_bytes(spoilt)
    assert fetch_package(tmp_path, DIGEST, source, tmp_path / "x")
    assert (source.fetched, kept.read_bytes(), (tmp_path / "x").read_bytes()) == (1, CONTENT, CONTENT)


def test_another_package_is_not_kept(tmp_path: Path) -> None:
    """A package that is not the one with the hash is told, and kept for nobody."""
    assert not fetch_package(tmp_path, DIGEST, Source(b"another"), tmp_path / "x")
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("cache", [None, "file"])
def test_without_a_cache_it_is_fetched(tmp_path: Path, cache: str | None) -> None:
    """No cache, and one that cannot be written, cost a download and nothing else."""
    (tmp_path / "file").write_text("no folder")
    source = Source()
    for _ in range(2):
        assert fetch_package(cache and tmp_path / cache, DIGEST, source, tmp_path / "x")
    assert source.fetched == 2


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used longest ago goes first; what was used last stays, however large."""
    monkeypatch.setattr(kept_package, "MOST_BYTES", 2)
    digests = [hashlib.sha256(bytes([number])).hexdigest() for number in range(5)]
    for number, digest in enumerate(digests):
        assert fetch_package(tmp_path, digest, Source(bytes([number])), tmp_path / "x")
        os.utime(tmp_path / FOLDER / f"{digest}.dlpk", (number, number))
    assert len(list((tmp_path / FOLDER).iterdir())) == 3
    assert (tmp_path / FOLDER / f"{digests[-1]}.dlpk").exists()

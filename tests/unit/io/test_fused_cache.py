"""Fused graphs kept: found again, made anew where damaged, done without where nothing can be kept."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.model.model import make_model
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.io.network import fused_cache
from geodl_core.io.network.fuse import Feed, Yield, fuse
from geodl_core.io.network.fused_cache import FOLDER, fused_bytes, fused_key
from geodl_core.io.network.graph import load_graph
from networks import conv_network

RADIOMETRY = Radiometry("raw", (0.01, 0.02), (-0.3, 0.2), None)
FEED = Feed(RADIOMETRY, "uint16")
GRAPH = Graph(
    (Tensor("x", "float32", (None, 2, None, None)),),
    (Tensor("y", "float32", (None, 3, None, None)),),
    (None,),
    17,
    "ab",
)
DOCUMENT = {
    "ModelFile": "x.onnx",
    "ModelType": "ImageClassification",
    "ExtractBands": [0, 1],
    "Padding": 0,
    "Classes": [{"Value": value, "Name": str(value)} for value in range(3)],
}
MODEL = make_model(parse_emd(json.dumps(DOCUMENT), "m"), GRAPH, "m")


class Maker:
    """Makes a graph, and counts how often."""

    def __init__(self, content: bytes = b"graph") -> None:
        self.content = content
        self.times = 0

    def __call__(self) -> bytes:
        self.times += 1
        return self.content


def files(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / FOLDER).rglob("*") if path.is_file())


def test_made_once(tmp_path: Path) -> None:
    """A graph is made at the first asking and found at the next, by its key; another key is another graph."""
    one, other = Maker(b"one"), Maker(b"other")
    for _ in range(3):
        assert fused_bytes(tmp_path, "a", one) == b"one"
        assert fused_bytes(tmp_path, "b", other) == b"other"
    assert (one.times, other.times) == (1, 1)
    assert [path.name for path in files(tmp_path)] == ["a.onnx", "b.onnx"]


def test_without_a_cache() -> None:
    """Without a cache the graph is made each time."""
    maker = Maker()
    assert [fused_bytes(None, "a", maker) for _ in range(2)] == [b"graph"] * 2
    assert maker.times == 2


def test_damaged_files(tmp_path: Path) -> None:
    """A kept graph that was cut or changed, wherever, is made anew and kept again."""
    maker = Maker()
    fused_bytes(tmp_path, "a", maker)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    damages = [*(whole[:length] for length in range(len(whole))), *flipped, whole + b"\0"]
    for number, damaged in enumerate(damages):
        path.write_bytes(damaged)
        assert fused_bytes(tmp_path, "a", maker) == b"graph"
        assert maker.times == number + 2
        assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """Where nothing can be kept the graph is made, and nothing is said."""
    (tmp_path / "file").write_bytes(b"")
    maker = Maker()
    assert fused_bytes(tmp_path / "file", "a", maker) == b"graph"
    (tmp_path / FOLDER / "b.onnx" / "c").mkdir(parents=True)
    assert fused_bytes(tmp_path, "b", maker) == b"graph"
    assert maker.times == 2
    assert files(tmp_path) == []


def test_errors_are_those_of_making(tmp_path: Path) -> None:
    """A graph that cannot be made raises what making raises, and nothing is kept."""

    def fail() -> bytes:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fused_bytes(tmp_path, "a", fail)
    assert files(tmp_path) == []


def test_pruning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit graphs used longest ago go first; using one is what counts, and the newest always stays."""
    monkeypatch.setattr(fused_cache, "MOST_BYTES", 3 * (32 + 5))
    for number, name in enumerate("abc"):
        fused_bytes(tmp_path, name, Maker())
        os.utime(tmp_path / FOLDER / f"{name}.onnx", (number, number))
    unused = Maker()
    fused_bytes(tmp_path, "a", unused)
    assert unused.times == 0
    fused_bytes(tmp_path, "d", Maker())
    assert [path.stem for path in files(tmp_path)] == ["a", "c", "d"]
    fused_bytes(tmp_path, "e", Maker(bytes(1000)))
    assert [path.stem for path in files(tmp_path)] == ["e"]


CHANGES = [
    (replace(MODEL, digest="other"), FEED, Yield()),
    (replace(MODEL, threshold=0.25), FEED, Yield()),
    (MODEL, replace(FEED, chip_dtype="uint8"), Yield()),
    (MODEL, replace(FEED, radiometry=replace(RADIOMETRY, scale=(0.01, 0.03))), Yield()),
    (MODEL, replace(FEED, radiometry=replace(RADIOMETRY, offset=(-0.3, 0.0))), Yield()),
    (MODEL, FEED, Yield(scores=True)),
    (MODEL, FEED, Yield(left_out=0)),
    (MODEL, FEED, Yield(left_out=1)),
    (MODEL, FEED, Yield(is_for_cpu=True)),
]


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the graph depends on changes its key; the same gives the same."""
    before = load_graph(conv_network(tmp_path / "a.onnx").read_bytes(), "a.onnx")
    after = load_graph(conv_network(tmp_path / "b.onnx", seed=6).read_bytes(), "b.onnx")
    more = [(MODEL, replace(FEED, preprocessing=graph), Yield()) for graph in (before, after)]
    keys = [fused_key(MODEL, FEED, Yield()), *(fused_key(*change) for change in [*CHANGES, *more])]
    assert len(set(keys)) == len(keys)
    assert fused_key(MODEL, replace(FEED), Yield()) == keys[0]
    monkeypatch.setattr(fused_cache, "FUSE_VERSION", fused_cache.FUSE_VERSION + 1)
    assert fused_key(MODEL, FEED, Yield()) not in keys


def test_a_real_graph(tmp_path: Path) -> None:
    """What is kept of a real network is what fusing gives, to the last bit."""
    file = load_graph(conv_network(tmp_path / "a.onnx").read_bytes(), "a.onnx")
    model = make_model(parse_emd(json.dumps(DOCUMENT), "m"), file.graph, "m")
    key = fused_key(model, FEED, Yield())
    fresh = fuse(file, model, FEED, Yield())
    for _ in range(2):
        assert fused_bytes(tmp_path, key, lambda: fuse(file, model, FEED, Yield())) == fresh

"""Packages are untrusted: 500 spoiled ones are read or refused, in little time and memory, and write nothing."""

import io
import json
import os
import random
import resource
import subprocess
import sys
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

COUNT = 500
MOST_S = 2.0
MOST_BYTES = 200 << 20
EMD = {
    "ModelFile": "net.onnx",
    "ModelType": "ImageClassification",
    "ModelName": "net",
    "ExtractBands": [0, 1],
    "Classes": [{"Value": value, "Name": name} for value, name in enumerate("abc")],
}
WRITING = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
RUNNING = {"pickle.find_class", "os.exec", "os.system", "subprocess.Popen", "os.posix_spawn", "socket.connect"}

METHODS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
Members = list[tuple[Any, bytes]]


def pack(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of members; a name may be a ZipInfo, and stand twice."""
    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return target.getvalue()


def flipped(rng: random.Random, members: Members) -> bytes:
    content = bytearray(pack(members, rng.choice(METHODS)))
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        # Half of them in the directory at the end, where names, sizes and methods stand.
        start = rng.choice([0, max(0, len(content) - 220)])
        content[rng.randrange(start, len(content))] = rng.randrange(256)
    return bytes(content)


def truncated(rng: random.Random, members: Members) -> bytes:
    content = pack(members)
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    return rng.choice([content[:end], content[start:], content[:start] + content[end:], content + content[:start]])


PREFIXES = [
    "../",
    "../../../../tmp/",
    "/",
    "/etc/",
    "C:\\",
    "C:/",
    "\\\\host\\share\\",
    "..\\",
    "a/../../",
    "./",
    "~/",
    "-",
]


def renamed(rng: random.Random, members: Members) -> bytes:
    prefix = rng.choice(PREFIXES)
    which = rng.randrange(len(members))
    named = [(prefix + name if number == which else name, content) for number, (name, content) in enumerate(members)]
    if rng.random() < 0.5:
        emd = json.dumps({**EMD, "ModelFile": prefix + "net.onnx"}).encode()
        named = [(name, emd if name == "net.emd" else content) for name, content in named]
    return pack(named)


def doubled(rng: random.Random, members: Members) -> bytes:
    twin = rng.choice(members)
    content = rng.choice([b"", b"{}", b"PK\x05\x06", twin[1][:20], rng.randbytes(200), twin[1]])
    return pack([*members, (twin[0], content)])


def linked(rng: random.Random, members: Members) -> bytes:
    entry = zipfile.ZipInfo(rng.choice(["net.onnx", "net.emd", "link", "sub/"]))
    entry.create_system = 3
    entry.external_attr = rng.choice([0o120777, 0o060666, 0o010666, 0o040777]) << 16
    kept = [member for member in members if member[0] != entry.filename]
    return pack([*kept, (entry, rng.choice([b"/etc/passwd", b"../../outside", b".", b"net.onnx"]))])


def swollen(rng: random.Random, members: Members) -> bytes:
    """Sizes that are not those of the content, in one of the directories or in both."""
    content = bytearray(pack(members))
    for signature, offset in rng.sample([(b"PK\x03\x04", 18), (b"PK\x01\x02", 20)], rng.choice([1, 2])):
        start = content.find(signature)
        while start >= 0:
            if rng.random() < 0.7:
                size = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 20, 5000])
                place = start + offset + rng.choice([0, 4])
                content[place : place + 4] = size.to_bytes(4, "little")
            start = content.find(signature, start + 4)
    return bytes(content)


def bomb(rng: random.Random, members: Members) -> bytes:
    name = rng.choice(["net.onnx", "net.emd", "other.bin"])
    kept = [member for member in members if member[0] != name]
    filling = rng.choice([bytes(30_000_000), b" " * 30_000_000, b"[" * 3_000_000, b'{"a":' * 500_000])
    return pack([*kept, (name, filling)], rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))


def large_text(rng: random.Random, members: Members) -> bytes:
    """A definition that is long but not compressed, so that its ratio is harmless."""
    size = rng.choice([100_000, 2_000_000])
    fifth = size // 5
    texts = [b"[" * size, b'{"a":' * fifth, b"{" + b"//" * fifth, b'{"a": "' + b"\\" * size, b"{" + b'"a":1' * fifth]
    text = rng.choice(texts)
    return pack([(name, text if name == "net.emd" else content) for name, content in members], zipfile.ZIP_STORED)


def nested(rng: random.Random, members: Members) -> bytes:
    inner = pack(members)
    for _ in range(rng.randrange(4)):
        inner = pack([("inner.dlpk", inner)])
    place = rng.choice(["net.onnx", "net.emd", "inner.dlpk", "a/b/c/inner.zip"])
    return pack([*(member for member in members if member[0] != place), (place, inner)])


def crowded(rng: random.Random, members: Members) -> bytes:
    more = [(f"{'d/' * rng.randrange(9)}{number}{rng.choice(['.emd', '.onnx', ''])}", b"") for number in range(200)]
    return pack([*members, *more] if rng.random() < 0.9 else [(str(number), b"") for number in range(11_000)])


def spoilt_network(rng: random.Random, members: Members) -> bytes:
    """The archive is whole, the network or the definition in it is not."""
    which = rng.choice(["net.onnx", "net.emd"])
    content = bytearray(dict(members)[which])
    for _ in range(rng.choice([1, 3, 30])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return pack([(name, bytes(content) if name == which else whole) for name, whole in members])


def pickled(rng: random.Random, members: Members) -> bytes:
    """Weights as a pickle that would write a file when it is loaded, under a name that asks for it."""
    evil = b"cos\nsystem\n(S'touch owned'\ntR."
    name = rng.choice(["net.onnx", "net.pth", "net.pkl"])
    emd = json.dumps({**EMD, "ModelFile": name, "InferenceFunction": "evil.py"}).encode()
    return pack([("net.emd", emd), (name, evil), ("evil.py", b"open('owned', 'w')")])


MUTATIONS: list[Callable[[random.Random, Members], bytes]] = [
    flipped,
    flipped,
    truncated,
    renamed,
    doubled,
    linked,
    swollen,
    bomb,
    large_text,
    nested,
    crowded,
    spoilt_network,
    spoilt_network,
    pickled,
]


def load_all(folder: Path) -> dict[str, Any]:
    """Load all packages of a folder in this process; return what went wrong, and how many were read all the same."""
    from geodl_core.errors import GeodlError  # noqa: PLC0415
    from geodl_core.io.package.package import load_package  # noqa: PLC0415

    load_package(str(folder / "whole.dlpk"))
    wrong: list[str] = []
    loading: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        is_written = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if loading and (is_written or event in WRITING | RUNNING):
            wrong.append(f"{loading[0]}: {event} {arguments}")

    sys.addaudithook(watch)
    at_rest = most_memory()
    read = 0
    slowest = 0.0
    for path in sorted(folder.glob("*.dlpk")):
        start = time.perf_counter()
        loading.append(path.name)
        try:
            load_package(str(path))
            read += 1
        except GeodlError:
            pass
        except Exception:  # noqa: BLE001  # every other exception is what is looked for
            wrong.append(f"{path.name}: {traceback.format_exc(limit=-2)}")
        loading.clear()
        taken, grown = time.perf_counter() - start, most_memory() - at_rest
        slowest = max(slowest, taken)
        if taken > MOST_S or grown > MOST_BYTES:
            wrong.append(f"{path.name}: {taken:.1f} s, {grown >> 20} MB")
    return {"wrong": wrong, "read": read, "slowest_s": slowest, "grown_mb": (most_memory() - at_rest) >> 20}


def most_memory() -> int:
    """Return the most memory that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_spoilt_packages(tmp_path: Path) -> None:
    """Whatever is in a package: a GeodlError at worst, below 2 s and 200 MB, nothing written, unpickled or run."""
    from networks import conv_network  # noqa: PLC0415  # not in the other process: onnxruntime writes a file itself

    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    network = conv_network(folder / "net.onnx").read_bytes()
    (folder / "net.onnx").unlink()
    members: Members = [("net.emd", json.dumps(EMD).encode()), ("net.onnx", network)]
    (folder / "whole.dlpk").write_bytes(pack(members))
    for number in range(COUNT):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        path = folder / f"{number:03} {mutation.__name__}.dlpk"
        path.write_bytes(mutation(random.Random(number), members))
    before = sorted(tmp_path.rglob("*"))
    # A process of its own: nothing else moves its peak of memory, and audit hooks cannot be taken off again.
    paths = os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2))
    result = subprocess.run(
        [sys.executable, "-B", __file__, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["wrong"] == [], report
    assert sorted(tmp_path.rglob("*")) == before
    # A fuzz that is refused at the door every time would prove nothing.
    assert 40 < report["read"] < COUNT - 100, report


if __name__ == "__main__":
    sys.stdout.write(json.dumps(load_all(Path(sys.argv[1]))))

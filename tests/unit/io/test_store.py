"""Local files: whole or not at all, and one holder at a time."""

import errno
import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geodl_core.errors import StoreError
from geodl_core.io.store import (
    DRAFT,
    LOCK,
    atomic_file,
    held_folder,
    multihash,
    sha256_file,
    storage_errors,
    write_bytes,
)

HOLDER = """
import sys, time
from pathlib import Path
from geodl_core.io.store import held_folder
with held_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(5)
"""
FULL_DISK = """
import resource, sys
from pathlib import Path
from geodl_core.errors import StoreError
from geodl_core.io.store import atomic_file
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with atomic_file(Path(sys.argv[1])) as draft:
        with draft.open("wb") as file:
            for _ in range(100):
                file.write(bytes(1000))
except StoreError as error:
    print(error.message, "|", error.hint)
    sys.exit(error.exit_code)
"""


def test_atomic_file_writes_and_replaces(tmp_path: Path) -> None:
    """The target appears only when the block has ended, in new folders too, and replaces what was there."""
    target = tmp_path / "a" / "b.bin"
    for content in (b"first", b"second"):
        before = target.read_bytes() if target.exists() else None
        with atomic_file(target) as draft:
            draft.write_bytes(content)
            assert (target.read_bytes() if target.exists() else None) == before
        assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["b.bin"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_atomic_file_leaves_nothing_on_error(tmp_path: Path, error: BaseException) -> None:
    """An error in the block leaves the old target and nothing else."""
    target = tmp_path / "b.bin"
    target.write_bytes(b"old")
    expected = StoreError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), atomic_file(target) as draft:
        draft.write_bytes(b"half")
        draft.with_suffix(".more").write_bytes(b"beside")
        raise error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that cannot be made is a StoreError that names the target and is worth another try."""
    (tmp_path / "file").write_bytes(b"")
    target = tmp_path / "file" / "b.bin"
    with pytest.raises(StoreError) as caught:
        write_bytes(target, b"x")
    assert caught.value.exit_code == 75
    assert str(target) in caught.value.message
    with pytest.raises(StoreError), held_folder(tmp_path / "file"):
        pass


NO_LEAVE = """
import os, sys
from pathlib import Path
from geodl_core.io.store import write_bytes
from geodl_core.errors import StoreError
if os.geteuid() == 0:
    os.setuid(65534)  # root may write everywhere
try:
    write_bytes(Path(sys.argv[1]), b"x")
except StoreError as error:
    print(error.message)
"""


def test_a_folder_without_leave(tmp_path: Path) -> None:
    """A folder that may not be written is a StoreError that says so."""
    tmp_path.chmod(0o500)
    done = subprocess.run(
        [sys.executable, "-c", NO_LEAVE, str(tmp_path / "b.bin")], capture_output=True, text=True, check=True
    )
    assert "cannot be written: Permission denied" in done.stdout
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path) -> None:
    """Where the file does not fit, the error says so and nothing is left."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "b.bin")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 75, done.stderr
    assert "cannot be written" in done.stdout
    assert "free some space" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, None])
def test_storage_errors(code: int | None) -> None:
    """Each refusal of the operating system is a StoreError with its cause; the hint fits a full disk."""
    with pytest.raises(StoreError) as caught, storage_errors(Path("/x")):
        raise OSError(code, "reason") if code else OSError("reason")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.hint is not None
    assert ("free some space" in caught.value.hint) == (code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def test_a_held_folder_is_held_by_one_process(tmp_path: Path) -> None:
    """Another process is refused while one holds the folder; a holder that is killed holds it no longer."""
    folder = tmp_path / "job"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="another process"), held_folder(folder):
            pass
        (folder / f"{DRAFT}left").mkdir()
        (folder / f"{DRAFT}left" / "half.bin").write_bytes(b"half")
        holder.send_signal(signal.SIGKILL)
    (folder / "result").write_bytes(b"x")
    with held_folder(folder):
        assert not (folder / f"{DRAFT}left").exists()
        assert (folder / LOCK).exists()
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_a_held_folder_is_refused_within_the_process(tmp_path: Path) -> None:
    """A second holder in the same process is refused, and its refusal does not release the first."""
    with held_folder(tmp_path / "job"):
        for _ in range(2):
            with pytest.raises(StoreError, match="another process"), held_folder(tmp_path / "job"):
                pass
    assert not (tmp_path / "job").exists()


def test_a_held_folder_is_released_on_error(tmp_path: Path) -> None:
    """An error while it is held releases the folder and keeps what lies in it."""
    with pytest.raises(KeyError), held_folder(tmp_path / "job"):
        (tmp_path / "job" / "part").write_bytes(b"x")
        raise KeyError
    with held_folder(tmp_path / "job"):
        assert (tmp_path / "job" / "part").exists()


@pytest.mark.parametrize("content", [b"", b"abc", bytes(3 << 20)])
def test_hashes(tmp_path: Path, content: bytes) -> None:
    """Hash and multihash are those of hashlib."""
    write_bytes(tmp_path / "x", content)
    expected = hashlib.sha256(content).hexdigest()
    assert sha256_file(tmp_path / "x") == expected
    assert multihash(tmp_path / "x") == "1220" + expected

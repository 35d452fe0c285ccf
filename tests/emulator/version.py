"""The one version of MiniStack that this package fits: it replaces parts that are no public interface."""

from importlib.metadata import version

EXPECTED = "1.5.33"


def check() -> None:
    """End the process where another MiniStack is installed.

    Raises:
        SystemExit: the installed version is not the expected one.
    """
    found = version("ministack")
    if found != EXPECTED:
        raise SystemExit(f"error: the emulator fits ministack {EXPECTED}, found {found}; hint: tests/emulator/setup")

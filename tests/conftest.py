"""What all tests share: groups that need something, the test data, the network."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import pytest_socket

import postgres
from emulator import launch

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("GEODL_SHARED") or ROOT.parent / "shared")
GROUPS = {
    "shared": (SHARED / "data").is_dir() or f"there is no test data at {SHARED} (GEODL_SHARED names another place)",
    "gdal": shutil.which("gdalinfo") is not None or "the program gdalinfo is not installed (Debian: gdal-bin)",
    "postgres": postgres.state(),
    "aws": launch.state(),
}
"""Marker → True, or why this machine cannot run the group."""
_skipped: dict[str, int] = {}

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Every process that a test starts would compile all libraries anew, for seconds: kept apart from the sources.
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".pytest_cache" / "bytecode")
    sys.dont_write_bytecode = False

if os.environ.get("PYTEST_XDIST_WORKER"):
    # A worker a core: the threads of linear algebra, which spin where they wait, would take the other's.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_configure(config):
    config.addinivalue_line("markers", "postgres: needs PostgreSQL with PostGIS, started on the loopback")
    config.addinivalue_line("markers", "aws: needs the environments of tests/emulator/setup")


def pytest_collection_modifyitems(items):
    for item in items:
        for group, state in GROUPS.items():
            if item.get_closest_marker(group) and state is not True:
                _skipped[group] = _skipped.get(group, 0) + 1
                item.add_marker(pytest.mark.skip(reason=f"{group}: {state}"))


def pytest_runtest_setup(item):
    if "unit" in Path(item.fspath).relative_to(ROOT / "tests").parts and not item.get_closest_marker("enable_socket"):
        pytest_socket.disable_socket(allow_unix_socket=True)
    else:
        pytest_socket.enable_socket()
        pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost"], allow_unix_socket=True)


def pytest_terminal_summary(terminalreporter):
    for group, count in _skipped.items():
        terminalreporter.write_line(f"skipped group {group}: {count} tests: {GROUPS[group]}", yellow=True)


def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return  # a worker: who hands out the tests counts
    skipped = reporter.stats.get("skipped", [])
    if os.environ.get("GEODL_REQUIRE") == "all" and skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def shared():
    """The folder of shared test data."""
    return SHARED

"""A real PostgreSQL with PostGIS on the loopback, for the tests of a session; databases of it, for a module each."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path

PASSWORD = "s3cret/of@tests"
TEMPLATE = "geodl_template"
_numbers = count()


def programs():
    """The folder of PostgreSQL's programs, None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


def state():
    """True, or why this machine has no PostgreSQL to test with."""
    folder = programs()
    if folder is None:
        return "PostgreSQL is not installed (Debian: postgresql postgresql-15-postgis-3)"
    shares = subprocess.run([folder / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
    control = Path(shares.stdout.strip()) / "extension" / "postgis.control"
    packaged = Path("/usr/share/postgresql") / folder.parts[-2] / "extension" / "postgis.control"
    if not (control.is_file() or packaged.is_file()):
        return "PostGIS is not installed (Debian: postgresql-15-postgis-3)"
    if os.getuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as"
    return True


def _user():
    """Whom PostgreSQL runs as: it refuses root."""
    if os.getuid() != 0:
        return getpass.getuser()
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


class Server:
    """A cluster in a folder; stopped and started again at will."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.process = None
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        self._as = {"user": _user()} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(self.folder, _user())
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", self.data, "-U", "geodl", "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256",
                  "--no-sync", f"--pwfile={secret}")  # fmt: skip

    @property
    def data(self):
        return self.folder / "data"

    def dsn(self, database):
        quoted = PASSWORD.replace("/", "%2F").replace("@", "%40")
        return f"postgresql://geodl:{quoted}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement, database="postgres"):
        import psycopg  # noqa: PLC0415  # not there where nothing of PostgreSQL is

        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            connection.execute(statement)

    def start(self):
        settings = ("fsync=off", "listen_addresses=127.0.0.1", f"port={self.port}", "max_connections=60",
                    f"unix_socket_directories={self.folder}", "log_min_messages=fatal")  # fmt: skip
        spelled = " ".join(f"-c {one}" for one in settings)
        self._run("pg_ctl", "-D", self.data, "-w", "-s", "-l", self.folder / "log", "-o", spelled, "start")

    def stop(self, mode="immediate"):
        self._run("pg_ctl", "-D", self.data, "-w", "-s", "-m", mode, "stop")

    def _run(self, program, *arguments):
        command = [programs() / program, *map(str, arguments)]
        with (self.folder / f"{program}.log").open("ab") as log:
            done = subprocess.run(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, **self._as
            )
        assert done.returncode == 0, (self.folder / f"{program}.log").read_text()


@contextmanager
def running():
    """A server with a database that is a catalog already, to be copied; gone at the end."""
    from geodl_core.catalog.pgstac.bootstrap import init  # noqa: PLC0415  # as above

    # Not in pytest's folder, which nobody but its owner can enter.
    folder = tempfile.mkdtemp(prefix="geodl-postgres-")
    try:
        server = Server(folder)
        server.start()
        try:
            server.execute(f"CREATE DATABASE {TEMPLATE}")
            init(server.dsn(TEMPLATE))
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(server, template=TEMPLATE):
    """The address of a new database, a copy of the template."""
    name = f"test_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.dsn(name)
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")

"""A catalog from what a person calls it by."""

import sys

import pytest

from commands import geodl_here
from geodl_core.catalog.open import MIGRATING, PACKAGES, open_catalog
from geodl_core.errors import InputError
from geodl_core.service.ledger.database import Ledger

ADDRESS = "postgresql://geodl:s3cret@127.0.0.1:1/none"


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("opens", [open_catalog, Ledger])
def test_postgres_without_its_packages_is_told(monkeypatch, package, opens):
    """Without the extra an address of PostgreSQL is refused plainly, with what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match="packages of the extra pgstac") as caught:
        opens(ADDRESS)
    assert "[cpu,pgstac]" in caught.value.hint


@pytest.mark.parametrize("package", [*PACKAGES, MIGRATING])
def test_init_without_the_packages_is_told(monkeypatch, package):
    """`geodl catalog init` ends with 2 then, and shows no password."""
    monkeypatch.setitem(sys.modules, package, None)
    answer = geodl_here("catalog", "init", "--catalog", ADDRESS)
    assert answer.returncode == 2
    assert "pip install" in answer.stderr
    assert "s3cret" not in answer.stderr


def test_a_servers_address_is_no_ledger():
    """Commands without --server say where they work, and what takes a server's address."""
    answer = geodl_here("watch", "list", "--catalog", "http://127.0.0.1:8080")
    assert answer.returncode == 2
    assert "give the server's address" not in answer.stderr
    assert "postgresql://" in answer.stderr.splitlines()[1]
    assert "/watches" in answer.stderr.splitlines()[1]

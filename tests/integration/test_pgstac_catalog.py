"""The catalog in PostgreSQL: writers at the same time, restarts, the outbox, what goes in and comes back, init."""

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commands import geodl
from geodl_core.catalog.answers import Refusal
from geodl_core.catalog.open import open_catalog
from geodl_core.catalog.pgstac.bootstrap import init
from geodl_core.catalog.pgstac.catalog import PgstacCatalog
from geodl_core.catalog.pgstac.connections import address_name
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import CatalogError, InputError, ItemError
from postgres import PASSWORD, database
from stac_documents import make_collection, make_item, rectangle

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from geodl_core.catalog.open import open_catalog
place, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open_catalog(place) as catalog:
    catalog.put_collection({"id": "new", "stac_version": "1.1.0"})
    for number in range(count):
        catalog.put_item({
            "type": "Feature", "stac_version": "1.1.0", "id": f"{name}-{number}", "collection": "new",
            "geometry": {"type": "Point", "coordinates": [number % 180, 1]},
            "properties": {"datetime": f"2024-01-{number % 28 + 1:02}T00:00:00Z", "text": "x" * 3000},
            "assets": {}, "links": [],
        })
        if number % 10 == 0:
            catalog.maintain()
            catalog.search(__import__("geodl_core.domain.query").domain.query.ItemQuery(collections=("new",)))
        print(f"{name}-{number}", flush=True)
"""


@pytest.fixture(scope="module")
def dsn(postgres):
    """The address of a catalog that the tests of the module share."""
    with database(postgres) as address:
        yield address


@pytest.fixture
def catalog(dsn):
    """An opened catalog with an empty Collection c."""
    with PgstacCatalog(dsn) as opened:
        opened.delete_collection("c")
        opened.put_collection(make_collection("c"))
        yield opened


def of_c(item_id, **properties):
    return make_item(item_id, **properties) | {"collection": "c"}


def ids(catalog, **asked):
    found, token = [], None
    while True:
        page = catalog.search(ItemQuery(token=token, limit=1000, **asked))
        found += [item["id"] for item in page.items]
        token = page.next_token
        if token is None:
            return found


def reason(answer):
    assert isinstance(answer, Refusal)
    return answer.reason


def test_conditions_decide_whether_a_write_is_made(catalog):
    """Create, replace and etags refuse what they should, name the reason, and leave nothing behind."""
    a, b = of_c("a"), of_c("b")
    (etag,) = catalog.write_items([a], "create")
    writes = len(catalog.outbox(0, 1000))
    assert reason(catalog.write_items([b, a], "create")) == "taken"
    assert reason(catalog.write_items([b, b], "create")) == "taken"
    assert reason(catalog.write_items([a, b], "replace")) == "missing"
    assert reason(catalog.write_items([a], "replace", frozenset({"0"}))) == "changed"
    assert reason(catalog.write_items([b], "put", frozenset({etag}))) == "changed"
    assert reason(catalog.write_items([a | {"collection": "d"}], "put")) == "missing"
    assert reason(catalog.remove_item("c", "a", frozenset({"0"}))) == "changed"
    assert reason(catalog.remove_item("c", "b")) == "missing"
    assert reason(catalog.write_collection({"id": "c"}, "create")) == "taken"
    assert reason(catalog.write_collection({"id": "d"}, "replace")) == "missing"
    assert reason(catalog.write_collection({"id": "c"}, "put", frozenset({"0"}))) == "changed"
    assert reason(catalog.delete_collection("c", frozenset({"0"}))) == "changed"
    with pytest.raises(CatalogError, match="no collection 'd'"):
        catalog.put_item(a | {"collection": "d"})
    assert len(catalog.outbox(0, 1000)) == writes
    assert catalog.read_item("c", "a").etag == etag
    (newer,) = catalog.write_items([of_c("a", x=1)], "replace", frozenset({etag, "0"}))
    assert catalog.read_item("c", "a").etag == newer != etag
    assert catalog.remove_item("c", "a", frozenset({newer})) is None


def test_an_item_put_twice_at_once_is_written_twice(catalog):
    """Of two states of an Item in one write the last one stays, and followers see both."""
    last = catalog.outbox(0, 1000)[-1].seq
    etags = catalog.write_items([of_c("a", x=1), of_c("b"), of_c("a", x=2)], "put")
    assert catalog.get_item("c", "a")["properties"]["x"] == 2
    assert catalog.read_item("c", "a").etag == etags[2] != etags[0]
    rows = catalog.outbox(last, 10)
    assert [(row.op, row.item_id, row.etag) for row in rows] == [
        ("create", "a", etags[0]), ("create", "b", etags[1]), ("replace", "a", etags[2])
    ]  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5) | st.just("𒍟※"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
SHARED = st.dictionaries(st.sampled_from(["a", "title", "roles"]), JSON, max_size=3)
ASSETS = st.dictionaries(st.sampled_from(["one", "two"]), SHARED, max_size=2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shared=ASSETS, later=ASSETS, assets=ASSETS, extra=JSON, x=st.floats(-180, 180), y=st.floats(-90, 89))
def test_what_goes_in_comes_back(catalog, shared, later, assets, extra, x, y):
    """Every JSON value comes back, null too, whatever the Collection's item_assets are then and become later."""
    catalog.delete_item("back", "i")
    catalog.put_collection({"id": "back", "item_assets": shared, "stac_version": "1.0.0"})
    sent = make_item("i", extra=extra) | {"collection": "back", "assets": assets, "pgstac:base_item": extra}
    sent |= {"geometry": {"type": "Point", "coordinates": [x, y]}}
    del sent["stac_version"]
    (etag,) = catalog.write_items([sent], "create")
    for turn in range(2):
        stored = catalog.read_item("back", "i")
        assert_same(stored.content, sent)
        assert stored.etag == etag
        assert_same(catalog.search(ItemQuery(collections=("back",))).items[0], sent)
        if turn == 0:
            catalog.put_collection({"id": "back", "item_assets": later})
    catalog.write_items([sent], "replace", frozenset({etag}))
    assert_same(catalog.get_item("back", "i"), sent)


def assert_same(found, expected):
    """Equal as JSON: true is not 1, while 1.0 and 1 are one number."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, list):
            return [plain(one) for one in value]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return Decimal(repr(value)) if is_number else (value,)

    assert plain(found) == plain(expected)


def test_pgstac_itself_reads_what_is_written(catalog, dsn):
    """Other programs that ask pgstac get the same Items, apart from nulls, which it drops."""
    catalog.put_collection(make_collection("c", item_assets={"data": {"roles": ["data"], "title": "Data"}}))
    sent = [of_c("a", **{"eo:cloud_cover": 3}), of_c("b") | {"geometry": rectangle(179, 0, 181, 1)}]
    catalog.put_items(sent)
    with psycopg.connect(dsn) as connection:
        connection.execute("SET search_path TO pgstac, public")
        for item in sent:
            assert connection.execute("SELECT get_item(%s, 'c')", (item["id"],)).fetchone()[0] == item
        asked = {"collections": ["c"], "filter": {"op": "<", "args": [{"property": "eo:cloud_cover"}, 5]}}
        page = connection.execute("SELECT search(%s::jsonb)", (json.dumps(asked),)).fetchone()[0]
    assert page["features"] == [sent[0]]


PLAIN = st.recursive(
    st.booleans() | st.integers(0, 3) | st.sampled_from(["data", "x"]),
    lambda inner: (
        st.lists(st.dictionaries(st.sampled_from("ab"), inner, max_size=2), max_size=2)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
PARTS = st.dictionaries(st.sampled_from(["one", "two"]), st.dictionaries(st.sampled_from("abc"), PLAIN), max_size=2)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shared=PARTS, assets=PARTS)
@example(shared={"two": {"b": [{}, {}]}}, assets={"two": {"b": [{}, {"a": "data"}]}})
@example(shared={"two": {"b": [{"a": 1}, {}]}}, assets={"two": {"b": [{}, {"a": "data"}]}})
def test_pgstac_itself_fills_in_what_is_shared(catalog, dsn, shared, assets):
    """What geodl leaves out because the Collection's item_assets have it, pgstac fills in again, and no more."""
    catalog.put_collection(make_collection("c", item_assets=shared))
    sent = of_c("a") | {"assets": assets}
    catalog.put_item(sent)
    with psycopg.connect(dsn) as connection:
        connection.execute("SET search_path TO pgstac, public")
        found = connection.execute("SELECT get_item('a', 'c')").fetchone()[0]
        content = connection.execute("SELECT content FROM items WHERE collection = 'c'").fetchone()[0]
    assert_same(found, sent)
    if json.dumps(assets, sort_keys=True) == json.dumps(shared, sort_keys=True):
        assert not content.get("assets")


def test_what_pgstac_itself_has_written_is_read(catalog, dsn):
    """Items that another program put through pgstac's functions are found, with an etag that guards them."""
    sent = of_c("theirs", platform="x")
    with psycopg.connect(dsn) as connection:
        connection.execute("SET search_path TO pgstac, public")
        connection.execute("SELECT create_item(%s::jsonb)", (json.dumps(sent),))
    stored = catalog.read_item("c", "theirs")
    assert stored.content == sent
    assert ids(catalog, filter="platform = 'x'") == ["theirs"]
    with psycopg.connect(dsn) as connection:
        connection.execute("SET search_path TO pgstac, public")
        connection.execute("SELECT upsert_item(%s::jsonb)", (json.dumps(of_c("theirs", platform="y")),))
    assert reason(catalog.remove_item("c", "theirs", frozenset({stored.etag}))) == "changed"


@pytest.mark.parametrize(
    "item",
    [of_c("x", title="\x00"), of_c("x", **{"grid:code": "y" * 10_000}) | {"assets": {"q": {"href": "z\x00"}}}],
    ids=["zero", "zero in an asset"],
)
def test_documents_that_postgres_cannot_hold_are_refused(catalog, item):
    """U+0000 is a fault of the Item, and leaves nothing behind."""
    with pytest.raises(InputError, match="U\\+0000"):
        catalog.put_items([of_c("fine"), item])
    assert ids(catalog, collections=("c",)) == []


def test_long_values_of_indexed_properties_are_refused(catalog):
    """A value that no index can hold is a fault of the Item; as a property without an index it is fine."""
    value = "".join(chr(200 + number * 7919 % 5000) for number in range(6_000))
    with pytest.raises(ItemError, match="2,600 bytes"):
        catalog.put_item(of_c("x", **{"grid:code": value}))
    catalog.put_item(of_c("x", other=value))


def assert_complete(dsn, expected):
    with PgstacCatalog(dsn) as catalog:
        found = ids(catalog, collections=("new",))
        rows = [row for row in catalog.outbox(0, 100_000) if row.collection_id == "new" and row.item_id]
    assert sorted(found) == sorted(expected)
    assert sorted(row.item_id for row in rows) == sorted(expected)
    assert {row.op for row in rows} == {"create"}


def test_processes_fill_one_new_collection(postgres, tmp_path):
    """Four processes that make a Collection and fill it at once, with maintenance in between, lose nothing."""
    with database(postgres) as dsn:
        logs = [(tmp_path / f"{name}.log").open("w") for name in "abcd"]
        running = [
            subprocess.Popen([sys.executable, "-c", WRITER, dsn, name, "40"], cwd=ROOT, stdout=log, stderr=log)
            for name, log in zip("abcd", logs, strict=True)
        ]
        codes = [process.wait(timeout=120) for process in running]
        for log in logs:
            log.close()
        assert codes == [0] * 4, [Path(log.name).read_text()[-500:] for log in logs]
        assert_complete(dsn, {f"{name}-{number}" for name in "abcd" for number in range(40)})
        with psycopg.connect(dsn) as connection:
            failed = connection.execute("SELECT error FROM pgstac.query_queue_history WHERE error IS NOT NULL")
            assert failed.fetchall() == []


def test_followers_of_the_outbox_miss_nothing(catalog):
    """Whoever reads on from the last number seen, while eight threads write, meets every write once."""
    last = catalog.outbox(0, 10_000)[-1].seq
    seen, is_done = [], threading.Event()

    def follow():
        position = last
        while True:
            ending = is_done.is_set()
            rows = catalog.outbox(position, 7)
            seen.extend(row.item_id for row in rows)
            position = rows[-1].seq if rows else position
            if ending and not rows:
                return

    def write(name):
        for number in range(12):
            catalog.write_items([of_c(f"{name}-{number}-{part}") for part in range(2)], "create")

    follower = threading.Thread(target=follow)
    follower.start()
    writers = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    is_done.set()
    follower.join()
    assert sorted(seen) == sorted(f"{a}-{b}-{c}" for a in range(8) for b in range(12) for c in range(2))


def test_the_outbox_is_pruned(catalog):
    """Rows up to a number and a time go, the others stay, and numbers are not used again."""
    catalog.put_items([of_c("a"), of_c("b")])
    rows = catalog.outbox(0, 10_000)
    assert catalog.prune_outbox(rows[-1].seq, datetime.now(UTC) - timedelta(hours=1)) == 0
    assert catalog.prune_outbox(rows[-2].seq, datetime.now(UTC) + timedelta(hours=1)) == len(rows) - 1
    assert catalog.outbox(0, 10) == [rows[-1]]
    catalog.put_item(of_c("a"))
    assert catalog.outbox(0, 10)[-1].seq > rows[-1].seq


def test_a_restart_heals_by_itself(postgres):
    """While PostgreSQL is away calls fail plainly; the next call after its return works, and nothing is lost."""
    with database(postgres) as dsn, PgstacCatalog(dsn) as catalog:
        catalog.put_collection(make_collection("c"))
        kept, stop = [], threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    catalog.write_items([of_c(f"i{number}")], "put")
                except CatalogError as err:
                    assert PASSWORD not in err.message
                else:
                    kept.append(f"i{number}")

        thread = threading.Thread(target=write)
        thread.start()
        while len(kept) < 5:
            time.sleep(0.01)
        postgres.stop()
        with pytest.raises(CatalogError):
            catalog.check()
        postgres.start()
        catalog.check()
        before = len(kept)
        while len(kept) < before + 5:
            time.sleep(0.01)
        stop.set()
        thread.join()
        assert set(kept) <= set(ids(catalog))
        written = {row.item_id for row in catalog.outbox(0, 100_000)} - {None}
        assert written == set(ids(catalog))


@pytest.mark.parametrize(
    "change",
    [
        lambda dsn: dsn.replace(":s3cret", ":wrong"),
        lambda dsn: dsn.rpartition(":")[0] + ":1/none",
        lambda dsn: dsn + "_none",
        lambda dsn: dsn.replace("%2F", "/").replace("%40", "@"),
        lambda dsn: dsn.replace("%2F", "%"),
        lambda dsn: dsn.replace("127.0.0.1", "no-such-host.invalid"),
        lambda dsn: dsn + "?what=s3cret",
        lambda dsn: dsn.replace("postgresql", "postgres") + "_none",
    ],
    ids=["password", "port", "database", "unescaped", "bad escape", "host", "option", "scheme"],
)
def test_passwords_are_in_no_error(dsn, change):
    """An address that does not serve is a plain error without any part of the password."""
    for use in (open_catalog, init):
        with pytest.raises(CatalogError) as caught:
            use(change(dsn))
        text = f"{caught.value.message} {caught.value.hint}"
        assert not re.search("s3cret|of@|tests@|wrong", text)
        assert "\n" not in text
    finished = geodl("catalog", "init", "--catalog", change(dsn))
    assert finished.returncode == 75
    assert not re.search("s3cret|of@|tests@|Traceback", finished.stdout + finished.stderr)


def test_a_closed_catalog_says_so(dsn):
    """A catalog that was closed is an error of the catalog."""
    with PgstacCatalog(dsn) as catalog:
        pass
    with pytest.raises(CatalogError, match="closed"):
        catalog.check()


def test_init_makes_a_catalog_and_changes_nothing_when_run_again(postgres, tmp_path):
    """`geodl catalog init` makes an empty database a catalog, says what it did, and can be run again at any time."""
    with database(postgres, "template0") as dsn:
        with pytest.raises(CatalogError, match="expected a catalog of geodl") as caught:
            open_catalog(dsn)
        assert "geodl catalog init" in caught.value.hint
        first = geodl("catalog", "init", "--catalog", dsn, cwd=tmp_path)
        assert first.returncode == 0, first.stderr
        assert "pgstac 0.10.0: installed" in first.stdout
        assert PASSWORD not in first.stdout + first.stderr
        with open_catalog(dsn) as catalog:
            catalog.put_collection(make_collection("c"))
            catalog.put_items([of_c(f"i{number}", **{"eo:cloud_cover": number}) for number in range(12)])
            before = catalog.outbox(0, 100)
        again = geodl("catalog", "init", cwd=tmp_path, GEODL_CATALOG=dsn)
        assert again.returncode == 0, again.stderr
        assert "pgstac 0.10.0: there" in again.stdout
        assert first.stdout.splitlines()[-1] == again.stdout.splitlines()[-1] == f"catalog  {address_name(dsn)}"
        with open_catalog(dsn) as catalog:
            assert (len(ids(catalog)), catalog.outbox(0, 100)) == (12, before)
        with psycopg.connect(dsn) as connection:
            setting = connection.execute("SELECT value FROM pgstac.pgstac_settings WHERE name = 'use_queue'")
            assert setting.fetchone() == ("true",)
            asked = json.dumps({"sortby": [{"field": "eo:cloud_cover", "direction": "asc"}], "limit": 12})
            connection.execute("SET search_path TO pgstac, public")
            page = connection.execute("SELECT search(%s::jsonb)", (asked,)).fetchone()[0]
            assert [item["id"] for item in page["features"]] == [f"i{number}" for number in range(12)]


def test_init_says_what_a_user_may_not_do(postgres):
    """Who may make neither extensions nor roles is told what a superuser has to do, and then can make the catalog."""
    postgres.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    try:
        with database(postgres, "template0") as dsn:
            name = dsn.rpartition("/")[2]
            plain = f"postgresql://plain:plain@127.0.0.1:{postgres.port}/{name}"
            postgres.execute(f"GRANT CREATE ON DATABASE {name} TO plain")
            with pytest.raises(CatalogError, match="extension postgis") as caught:
                init(plain)
            assert (
                "CREATE EXTENSION postgis; CREATE EXTENSION btree_gist; CREATE EXTENSION unaccent;" in caught.value.hint
            )
            with closing(psycopg.connect(dsn, autocommit=True)) as connection:
                connection.execute(caught.value.hint.partition(": ")[2])
            with pytest.raises(CatalogError, match="may not"):
                init(plain)
            init(dsn)
            with pytest.raises(CatalogError, match="may not"):
                open_catalog(plain)
            postgres.execute("GRANT pgstac_admin TO plain")
            init(plain)
            with open_catalog(plain) as catalog:
                catalog.put_collection(make_collection("c"))
                catalog.put_items([of_c("a"), of_c("b")])
                catalog.delete_item("c", "a")
                catalog.maintain()
                assert ids(catalog) == ["b"]
                assert len(catalog.outbox(0, 10)) == 4
                catalog.delete_collection("c")
    finally:
        postgres.execute("DROP ROLE plain")


def test_init_of_a_file_makes_an_embedded_catalog(tmp_path):
    """`geodl catalog init` with a path makes the file; an address that is no database is refused."""
    for _ in range(2):
        finished = geodl("catalog", "init", "--catalog", "new/catalog.db", cwd=tmp_path)
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout == "catalog  new/catalog.db\n"
    with SqliteCatalog(tmp_path / "new" / "catalog.db", create=False) as catalog:
        assert catalog.collections() == []
    assert geodl("catalog", "init", "--catalog", "https://stac.example.com", cwd=tmp_path).returncode == 2

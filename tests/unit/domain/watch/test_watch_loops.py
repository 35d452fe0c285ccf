"""Lineages of Items, and the watches that must not run over them."""

import pytest

from geodl_core.domain.watch.loops import MOST_ANCESTORS, MOST_RUNS, find_loop, parent_keys, trace
from geodl_core.domain.watch.watch import read_watch


def watch(**more):
    return read_watch({"name": "w", "model": "net", **more}, "watch")


def item(key, parents=(), model=None, hrefs=None):
    collection, item_id = key
    links = [
        {"rel": "derived_from", "href": f"https://example.com/collections/{parent[0]}/items/{parent[1]}"}
        for parent in parents
    ]
    links += [{"rel": "derived_from", "href": href} for href in hrefs or ()]
    properties = {"geodl:model": model} if model else {}
    return {"id": item_id, "collection": collection, "properties": properties, "links": links}


def traced(start, *others):
    known = {(one["collection"], one["id"]): one for one in (start, *others)}
    return trace(start, lambda collection, item_id: known.get((collection, item_id)))


def test_a_scene_is_no_loop():
    """An Item that geodl did not make, from scenes that it did not make, is run."""
    scene = item(("s", "1"), [("raw", "0")])
    lineage = traced(scene, item(("raw", "0")))
    assert (lineage.depth, lineage.makers, find_loop(watch(), "net", lineage)) == (0, frozenset(), None)


def test_a_watch_does_not_run_over_its_own_results():
    """A result in the watch's output collection by its model is a loop, and so is what descends from one."""
    scene = item(("s", "1"))
    result = item(("geodl-net", "1_net"), [("s", "1")], "net")
    further = item(("geodl-other", "1_net_other"), [("geodl-net", "1_net")], "other")
    for one, others in ((result, [scene]), (further, [result, scene])):
        assert "loop" in find_loop(watch(), "net", traced(one, *others))
    assert find_loop(watch(), "net", traced(scene)) is None


def test_chains_of_watches_go_on():
    """Results of another model, in another collection, or elsewhere by the same model, may be run over."""
    result = item(("geodl-net", "1_net"), [("s", "1")], "net")
    lineage = traced(result, item(("s", "1")))
    assert lineage.depth == 1
    assert find_loop(watch(), "other", lineage) is None
    assert find_loop(watch(output_collection="elsewhere"), "net", lineage) is None
    assert "loop" in find_loop(watch(output_collection="geodl-net"), "net", lineage)


def test_two_watches_that_feed_each_other_end():
    """Each of two watches runs once along a chain, and is stopped when its own result comes back."""
    chain = [item(("s", "0"))]
    models, ran = ("a", "b"), []
    for step in range(10):
        model = models[step % 2]
        lineage = traced(chain[-1], *chain[:-1])
        if find_loop(watch(), model, lineage):
            break
        ran.append(model)
        previous = (chain[-1]["collection"], chain[-1]["id"])
        chain.append(item((f"geodl-{model}", str(step)), [previous], model))
    assert ran == ["a", "b"]


def test_long_chains_end():
    """A result of eight runs one after the other is not run over, one of seven is."""
    chain = [item(("s", "0"))]
    for step in range(MOST_RUNS):
        previous = (chain[-1]["collection"], chain[-1]["id"])
        chain.append(item((f"c{step}", "x"), [previous], f"m{step}"))
    depths = [traced(one, *chain).depth for one in chain]
    assert depths == list(range(MOST_RUNS + 1))
    assert find_loop(watch(), "net", traced(chain[-2], *chain)) is None
    assert "8 runs" in find_loop(watch(), "net", traced(chain[-1], *chain))


def test_the_longest_way_counts():
    """Of several ways back to a scene the one with most runs is the depth."""
    scene, first = item(("s", "0")), item(("a", "1"), [("s", "0")], "a")
    second = item(("b", "2"), [("a", "1")], "b")
    mosaic = item(("c", "3"), [("s", "0"), ("b", "2"), ("a", "1")], "c")
    assert traced(mosaic, scene, first, second).depth == 3


def test_links_in_a_circle_end():
    """Items derived from one another are followed once; results in a circle are not run over."""
    one, two = item(("s", "1"), [("s", "2")]), item(("s", "2"), [("s", "1")])
    assert find_loop(watch(), "net", traced(one, two)) is None
    itself = item(("s", "1"), [("s", "1")])
    assert traced(itself).depth == 0
    ring = [item(("r", str(n)), [("r", str((n + 1) % 3))], "m") for n in range(3)]
    assert find_loop(watch(), "net", traced(*ring)) is not None


def test_ancestors_without_end_are_not_run_over():
    """What leads back through more generations or ancestors than are followed is stopped, after bounded work."""
    asked = []

    def endless(collection, item_id):
        asked.append(item_id)
        return item((collection, item_id), [(collection, str(int(item_id) + 1))])

    lineage = trace(item(("s", "0"), [("s", "1")]), endless)
    assert "further" in find_loop(watch(), "net", lineage)
    assert len(asked) <= MOST_ANCESTORS
    asked.clear()
    many = item(("s", "0"), [("s", str(n)) for n in range(1, 5_000)])
    lineage = trace(many, endless)
    assert "further" in find_loop(watch(), "net", lineage)
    assert len(asked) <= MOST_ANCESTORS


@pytest.mark.parametrize(
    ("href", "key"),
    [
        ("https://example.com/v1/collections/s%202/items/a%2Fb", ("s 2", "a/b")),
        ("/data/out/geodl-net/scene_net/scene_net.json", ("geodl-net", "scene_net")),
        ("file:///data/out/geodl-net/scene_net/scene_net.json", ("geodl-net", "scene_net")),
        ("http://127.0.0.1:8080/collections/s/items/x?token=1", ("s", "x")),
    ],
)
def test_hrefs_name_their_items(href, key):
    """Addresses of STAC APIs, and files as results lie in folders, say collection and id."""
    assert parent_keys(item(("c", "1"), hrefs=[href])) == (key,)


@pytest.mark.parametrize(
    "href", ["https://example.com/scene.tif", "", "http://[", "./x.json", "collections/a/items", 7]
)
def test_other_hrefs_name_none(href):
    """Files of other names, and what is no address, are nobody's Item."""
    assert parent_keys(item(("c", "1"), hrefs=[href])) == ()


@pytest.mark.parametrize("links", [None, 3, {}, [None, 3, {}, {"rel": "derived_from"}]])
def test_bad_links_are_no_ancestors(links):
    """Links of wrong types raise nothing."""
    assert trace({"id": "i", "collection": "c", "properties": None, "links": links}, lambda *_: None).depth == 0


def test_the_source_of_a_result_is_known_without_links():
    """`geodl:source` names the Items that a result was computed from."""
    one = item(("geodl-net", "r"), model="net")
    one["properties"]["geodl:source"] = "s/1,s/2,lonely@1a2b"
    assert parent_keys(one) == (("s", "1"), ("s", "2"))


def test_models_made_nothing():
    """A registered model has a name, but is no result of it."""
    model = item(("models", "net-1"), model="net")
    assert traced(item(("s", "1"), [("models", "net-1")]), model).makers == frozenset()

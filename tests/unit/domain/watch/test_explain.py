"""Why an Item matches a watch, or why not."""

import pytest

from geodl_core.domain.watch.explain import Standing, explain
from geodl_core.domain.watch.loops import trace
from geodl_core.domain.watch.match import index_watches, match_item
from geodl_core.domain.watch.watch import read_watch
from stac_documents import rectangle


def watch(**more):
    return read_watch({"name": "w", "model": "net", **more}, "watch")


def item(**more):
    properties = {"datetime": "2026-05-01T00:00:00Z", "eo:cloud_cover": 12.5, **more.pop("properties", {})}
    return {"id": "i", "collection": "s", "geometry": rectangle(0, 0, 1, 1), "properties": properties, **more}


def checks(watched, one, *, is_paused=False, runs=0):
    standing = Standing(is_paused, runs, "net", trace(one, lambda *_: None))
    return {check.name: check for check in explain(watched, one, standing)}


def failed(watched, one, **more):
    return [name for name, check in checks(watched, one, **more).items() if not check.passed]


def test_every_check_is_told_not_only_the_first():
    """A watch that fails in everything says so of everything."""
    watched = watch(
        collections=["other"],
        aoi="10,0,11,1",
        filter="eo:cloud_cover < 5",
        mode="schedule",
        schedule={"cron": "0 6 * * *"},
        output_collection="s",
    )
    one = item(properties={"deprecated": True, "geodl:model": "net"})
    found = failed(watched, one, is_paused=True)
    assert found == ["collection", "area", "filter", "current", "mode", "paused", "loop"]


def test_what_matches_passes_everything():
    """An Item that matches has every check passed."""
    watched = watch(collections=["s"], aoi="0.5,0.5,2,2", filter="eo:cloud_cover < 20")
    assert failed(watched, item()) == []


def test_texts_say_what_was_found():
    """The distance of an area, the values of properties and the rest of a day are told."""
    told = checks(watch(aoi="2,0,3,1", filter="eo:cloud_cover < 5 and nothing = 1", max_runs_per_day=2), item(), runs=2)
    assert "111 km from" in told["area"].text
    assert "eo:cloud_cover = 12.5" in told["filter"].text
    assert "nothing = nothing" in told["filter"].text
    assert told["brake"].passed
    assert "later day" in told["brake"].text


def test_what_passed_is_not_told_as_if_it_had_not():
    """A Collection that is wanted is said to be; what was expected stands where it is not."""
    assert checks(watch(collections=["r", "s"]), item())["collection"].text == "s is one of the watch's"
    assert checks(watch(collections=["r", "t"]), item())["collection"].text == "s; expected r or t"
    assert "expected" not in checks(watch(), item())["collection"].text
    assert not checks(watch(), item(collection="models"))["collection"].passed


def test_distances_are_short_over_the_antimeridian():
    """An Item at 179° E is near an area at 179° W."""
    one = item(geometry=rectangle(178, 0, 179, 1))
    assert "222 km" in checks(watch(aoi="-179,0,-178,1"), one)["area"].text or "223 km" in (
        checks(watch(aoi="-179,0,-178,1"), one)["area"].text
    )


def test_a_touched_border_is_told():
    """A common border is no match, and the text says why."""
    assert "touches" in checks(watch(aoi="1,0,2,1"), item())["area"].text


@pytest.mark.parametrize("geometry", [None, {"type": "Polygon", "coordinates": [[[0, 0]]]}, 5])
def test_an_item_without_a_place_is_told(geometry):
    """Without a readable geometry no area is met, and that is said."""
    told = checks(watch(aoi="0,0,1,1"), item(geometry=geometry))["area"]
    assert not told.passed
    assert "geometry" in told.text


def test_explaining_agrees_with_matching():
    """Collection, area, filter and deprecation are judged as the index judges them."""
    watches = [
        watch(**({"collections": [c]} if c else {}), **({"aoi": a} if a else {}), **({"filter": f} if f else {}))
        for c in (None, "s", "t")
        for a in (None, "0.5,0,2,1", "1,0,2,1")
        for f in (None, "eo:cloud_cover < 20", "eo:cloud_cover < 5", "lacks = 1", "lacks is null")
    ]
    one = item()
    for watched in watches:
        matched = bool(match_item(index_watches([watched]), one))
        assert matched == (not failed(watched, one)), watched

"""One page of a scan: asked for, checked Item by Item, and where the scan goes from there."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import shapely

from geodl_core.domain.scan.check import FOREIGN, Check, judge, make_check
from geodl_core.domain.scan.item import item_location, settled_item
from geodl_core.domain.scan.links import Request, next_request
from geodl_core.domain.scan.place import Course, Move, Page, Place, after_page, after_refusal, span_of
from geodl_core.domain.scan.place import with_smaller_pages as smaller
from geodl_core.domain.scan.terms import (
    all_of,
    appeared_rule,
    appeared_terms,
    cloud_rule,
    query_areas,
    query_terms,
)
from geodl_core.domain.scan.windows import APPEARED, Kind, Window, interval_text, stamp
from geodl_core.domain.watch.watch import Watch, watch_json
from geodl_core.errors import DataError, InputError, UnavailableError
from geodl_core.service.scans.stac_search import Abilities, Later, Refused, StacSearch, search_request

MOST_ITEMS = 10_000
"""Of a page: who gives a hundred times what was asked for is not asked again."""
MOST_ITEM_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """A scan of a watch, ready to be carried out."""

    watch: Watch
    check: Check
    course: Course
    areas: Sequence[Mapping[str, Any]]
    rule: Any
    """CQL2-JSON of the watch's filter, or None."""
    digest: str
    """Of the watch: the place of another one's scan means nothing here."""


@dataclass(frozen=True, slots=True)
class Found:
    """An Item that is wanted."""

    item: dict[str, Any]
    """Its hrefs absolute, with the API's link to itself."""
    footprint: shapely.Geometry | None
    """In degrees."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A page that was read, or why it was not."""

    place: Place | None
    """What comes next; None: the scan has come to its end."""
    abilities: Abilities
    found: tuple[Found, ...] = ()
    items: int = 0
    """That the page held, wanted or not."""
    refused: Mapping[str, int] = field(default_factory=dict)
    note: str | None = None
    """What is wrong with the API's pages."""


def watch_digest(watch: Watch) -> str:
    """Return what tells one version of a watch from another."""
    return hashlib.sha256(json.dumps(watch_json(watch), sort_keys=True).encode()).hexdigest()


def make_plan(watch: Watch, kind: Kind, window: Window, abilities: Abilities) -> Plan:
    """Return a scan of a watch.

    Args:
        watch: with collections, and a source.
        kind: a scan takes Items that appeared within the window too, a back-fill those alone that were taken in it.
        window: of time.
        abilities: of the API.

    Raises:
        InputError: the watch has no collections, or looks at what is published instead of a source.
    """
    if watch.mode != "schedule":
        raise InputError(
            f"watch {watch.name}: expected one of mode schedule, found one of what is published",
            hint="scans need a source; give it mode, schedule and source, and put it in with geodl watch add --replace",
        )
    can_select = abilities.has_filter or abilities.has_query
    bases = ("datetime", *(APPEARED if kind == "scan" and can_select else ()))
    check = make_check(watch, window, bases)
    areas = query_areas(watch.aoi, is_boxed=abilities.method == "GET")
    rule = None if check.rule is None else check.rule.expression.to_json()
    return Plan(watch, check, Course(window, bases, len(areas)), areas, rule, watch_digest(watch))


def turn_page(plan: Plan, abilities: Abilities, place: Place, search: StacSearch) -> Turned | Later:
    """Ask for the page of a place, once.

    Returns:
        What it held and what comes next; smaller pages come next where this one was too large. `Later` where the API
        cannot answer now, however little is asked for.

    Raises:
        InputError: the API does not take the search.
        DataError: what it answers cannot be followed.
    """
    request = place.request or search_request(abilities, _terms(plan, abilities, place))
    answer = search.page(request)
    if isinstance(answer, Later):
        lighter = smaller(place) if answer.is_large else None
        return answer if lighter is None else Turned(lighter, abilities)
    if isinstance(answer, Refused):
        return _refused(plan, abilities, place, answer)
    items = answer.get("features")
    if not isinstance(items, list):
        raise DataError(f"{search.api}: expected a FeatureCollection, found a document without features")
    if len(items) > MOST_ITEMS:
        raise DataError(f"{search.api}: expected at most {place.limit} Items, found {len(items):,}")
    return _read(plan, abilities, place, (search.api, request, answer))


def first_abilities(search: StacSearch) -> Abilities:
    """Return what an API can do.

    Raises:
        UnavailableError: it does not answer now.
    """
    found = search.abilities()
    if isinstance(found, Later):
        raise UnavailableError(found.text, hint="try again later")
    return found


def _read(plan: Plan, abilities: Abilities, place: Place, answered: tuple[str, Request, Mapping[str, Any]]) -> Turned:
    api, request, answer = answered
    items = answer["features"]
    try:
        following, trouble = next_request(answer, request, api), None
    except DataError as error:
        following, trouble = None, error.message
    span = span_of(plan.course, place)
    found: list[Found] = []
    refused: Counter[str] = Counter()
    foreign = 0
    for item in items:
        verdict = judge(plan.check, item, place.basis, span)
        foreign += verdict.refusal in FOREIGN
        taken = None if verdict.refusal else _taken(item, api)
        if taken is None:
            refused[verdict.refusal or "item"] += 1
        else:
            found.append(Found(taken, verdict.footprint))
    page = Page(request, following, len(items), foreign, _mark(items), trouble)
    move = after_page(plan.course, place, page)
    if move.is_repeated:
        return Turned(move.place, abilities, note="a page came twice")
    return Turned(move.place, abilities, tuple(found), len(items), refused, move.trouble)


def _refused(plan: Plan, abilities: Abilities, place: Place, answer: Refused) -> Turned:
    move: Move | None = after_refusal(plan.course, place, answer.text)
    if move is not None:
        return Turned(move.place, abilities, note=move.trouble)
    if abilities.has_filter or abilities.has_query:
        # What every API takes is wider; the local check sees to the rest.
        return Turned(place, replace(abilities, has_filter=False, has_query=False), note=f"no filter: {answer.text}")
    raise InputError(f"watch {plan.watch.name}: the API does not take the search: {answer.text}")


def _terms(plan: Plan, abilities: Abilities, place: Place) -> dict[str, Any]:
    """Return what a span is asked for by, as `pystac_client.ItemSearch` takes it."""
    span, basis = span_of(plan.course, place), plan.course.bases[place.basis]
    is_by_datetime = basis == "datetime"
    terms: dict[str, Any] = {"limit": place.limit, "collections": list(plan.watch.collections)}
    terms |= plan.areas[place.area]
    # Items of the window itself were found by datetime.
    terms["datetime"] = interval_text(span) if is_by_datetime else f"../{stamp(plan.course.window.start)}"
    if abilities.has_filter:
        most = plan.check.source.max_cloud
        rules = (plan.rule, None if most is None else cloud_rule(most))
        given = [each for each in (*rules, None if is_by_datetime else appeared_rule(basis, span)) if each is not None]
        return {**terms, "filter": all_of(*given)} if given else terms
    if abilities.has_query:
        query = query_terms(plan.rule)
        if not is_by_datetime:
            query = {**query, **appeared_terms(basis, span)}
        return {**terms, "query": query} if query else terms
    return terms


def _taken(item: Mapping[str, Any], api: str) -> dict[str, Any] | None:
    """Return an Item as an order carries it; None where it is none, or too large to be kept."""
    settled = settled_item(item, item_location(item, api))
    return settled if settled is not None and len(json.dumps(settled)) <= MOST_ITEM_BYTES else None


def _mark(items: Sequence[Any]) -> str:
    names = [[item.get("collection"), item.get("id")] for item in items if isinstance(item, Mapping)]
    return hashlib.sha256(json.dumps(names, default=str).encode()).hexdigest()[:16]

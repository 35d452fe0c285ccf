"""Where an Item comes from, and whether a watch that runs over it would run over its own results for ever."""

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from geodl_core.domain.naming import output_collection_id
from geodl_core.domain.watch.watch import Watch

Key = tuple[str, str]
"""Collection and id."""
Lookup = Callable[[str, str], Mapping[str, Any] | None]
"""Returns the Item of a collection and id, None where nobody knows it."""
MOST_GENERATIONS = 32
"""That `derived_from` is followed."""
MOST_ANCESTORS = 1_000
"""That are looked for."""
MOST_RUNS = 8
"""Results of results of results: so many runs may stand between an Item and a scene that geodl did not make."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """An Item and those that it was derived from."""

    depth: int
    """Runs between the Item and a scene that geodl did not make: 0 for such a scene itself."""
    makers: frozenset[Key]
    """(Collection, model) of the Item and its ancestors that are results."""
    is_whole: bool = True
    """False where there are more generations or ancestors than are followed."""


def trace(item: Mapping[str, Any], lookup: Lookup) -> Lineage:
    """Follow an Item's `derived_from` links; links in a circle end there.

    Args:
        item: as a catalog has it.
        lookup: finds ancestors; those that it does not know are the end.
    """
    start = (str(item.get("collection")), str(item.get("id")))
    known: dict[Key, Mapping[str, Any]] = {start: item}
    parents: dict[Key, tuple[Key, ...]] = {}
    asked: set[Key] = {start}
    generation = [start]
    is_cut = False
    for _ in range(MOST_GENERATIONS):
        following: list[Key] = []
        for key in generation:
            references = parent_keys(known[key])
            new = [one for one in references if one not in asked]
            is_cut = is_cut or len(asked) + len(new) > MOST_ANCESTORS
            new = new[: MOST_ANCESTORS - len(asked)]
            asked.update(new)
            found = {one: parent for one in new if (parent := lookup(*one)) is not None}
            known |= found
            following += found
            parents[key] = tuple(one for one in references if one in known)
        generation = following
        if not generation:
            break
    makers = frozenset((key[0], model) for key, one in known.items() if (model := model_of(one)) is not None)
    return Lineage(_depth(start, known, parents), makers, not generation and not is_cut)


def find_loop(watch: Watch, model: str, lineage: Lineage) -> str | None:
    """Return why a watch must not run over an Item, None where it may.

    Args:
        watch: whose turn it is.
        model: name of its model, as results have it.
        lineage: of the Item.
    """
    collection = output_of(watch, model)
    if (collection, model) in lineage.makers:
        return f"a loop: the Item is a result of {model} in {collection}, or descends from one"
    if not lineage.is_whole:
        most = f"{MOST_GENERATIONS} generations or {MOST_ANCESTORS:,} Items"
        return f"its derived_from links lead back further than {most}"
    if lineage.depth >= MOST_RUNS:
        return f"it is the result of {lineage.depth} runs one after the other; expected fewer than {MOST_RUNS}"
    return None


def output_of(watch: Watch, model: str) -> str:
    """Return the Collection of a watch's results."""
    return watch.output_collection or output_collection_id(model)


def model_of(item: Mapping[str, Any]) -> str | None:
    """Return the name of the model that made an Item, None where geodl did not make it."""
    properties = item.get("properties")
    model = properties.get("geodl:model") if isinstance(properties, Mapping) else None
    # A registered model says its own name there, which made nothing.
    return model if isinstance(model, str) and item.get("collection") != "models" else None


def parent_keys(item: Mapping[str, Any]) -> tuple[Key, ...]:
    """Return collection and id of what an Item says that it was derived from, as far as hrefs and names tell them."""
    links, properties = item.get("links"), item.get("properties")
    found = [key for link in (links if isinstance(links, list) else ()) for key in _of_link(link)]
    source = properties.get("geodl:source") if isinstance(properties, Mapping) else None
    if isinstance(source, str):
        keys = (part.partition("/") for part in source.split(","))
        found += [(collection, item_id) for collection, slash, item_id in keys if slash]
    return tuple(dict.fromkeys(found))


def _of_link(link: Any) -> Iterator[Key]:
    if not isinstance(link, Mapping) or link.get("rel") != "derived_from" or not isinstance(link.get("href"), str):
        return
    try:
        path = urlsplit(link["href"]).path
    except ValueError:
        return
    parts = [unquote(part) for part in path.split("/")]
    if len(parts) >= 4 and parts[-4] == "collections" and parts[-2] == "items":
        yield parts[-3], parts[-1]
    # As results lie in folders: COLLECTION/ITEM/ITEM.json.
    name, suffix = posixpath.splitext(parts[-1])
    if suffix == ".json" and len(parts) >= 3 and parts[-2] == name:
        yield parts[-3], name


def _depth(start: Key, known: Mapping[Key, Mapping[str, Any]], parents: Mapping[Key, tuple[Key, ...]]) -> int:
    """Return how many results the longest way to the oldest ancestor has; on a circle of results that has no end."""
    own = {key: int(model_of(item) is not None) for key, item in known.items()}
    depth = dict(own)
    for _ in range(MOST_GENERATIONS):
        longer = {key: own[key] + max((depth[one] for one in parents.get(key, ())), default=0) for key in known}
        if longer == depth:
            break
        depth = longer
    return depth[start]

"""Versions of one model: their order, their links, what a person calls them by."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from geodl_core.catalog.model_files import properties_of
from geodl_core.domain.mlm.carry import CARRIED
from geodl_core.domain.naming import slug
from geodl_core.errors import ModelError

RELS = frozenset({"predecessor-version", "successor-version", "latest-version"})
SHORTEST_VERSION = 4
NEVER = datetime(1, 1, 1, tzinfo=UTC)


def name_of(item: Mapping[str, Any]) -> str:
    """Return a registered model's name; of an Item that geodl did not write, its `mlm:name` or id."""
    properties = properties_of(item)
    return str(properties.get("geodl:model") or properties.get("mlm:name") or item.get("id"))


def version_of(item: Mapping[str, Any]) -> str:
    """Return a registered model's version: the start of its content hash; `?` where an Item has none."""
    return str(properties_of(item).get("version") or "?")


def reference(item: Mapping[str, Any]) -> str:
    """Return `NAME@VERSION`."""
    return f"{name_of(item)}@{version_of(item)}"


def definition_version(item: Mapping[str, Any]) -> str | None:
    """Return the `Version` that the definition itself gives, None where it gives none."""
    carried = properties_of(item).get("mlm:hyperparameters") or {}
    version = carried.get(f"{CARRIED}Version") or carried.get(f"{CARRIED}ModelVersion")
    return None if version is None else str(version)


def created(item: Mapping[str, Any]) -> datetime:
    """Return when a model was registered."""
    try:
        moment = datetime.fromisoformat(str(properties_of(item).get("created")))
    except ValueError:
        return NEVER
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def latest_first(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Items by name, the version registered last first."""
    by_age = sorted(items, key=lambda item: (created(item), str(item["id"])), reverse=True)
    ordered = sorted(by_age, key=name_of)
    return [item for _, group in groupby(ordered, key=name_of) for item in group]


def choose_model(models: Sequence[dict[str, Any]], reference: str) -> dict[str, Any]:
    """Return the Item that `NAME` or `NAME@VERSION` means.

    Without a version it is the one registered last. A version is the content hash or its first characters, four at
    least, or the definition's own `Version`.

    Args:
        models: as `latest_first` gives them.
        reference: as a user types it.

    Raises:
        ModelError: there is none, or there are several.
    """
    name, _, version = reference.rpartition("@") if "@" in reference else (reference, "", "")
    named = [item for item in models if name in (name_of(item), item["id"]) or slug(name) == name_of(item)]
    if not named:
        known = ", ".join(dict.fromkeys(name_of(item) for item in models)) or "none at all"
        raise ModelError(
            f"no registered model {name}; there are: {known}",
            hint="geodl model list shows all of them; --stack NAME those of a deployment",
        )
    if not version:
        return named[0]
    found = matching_versions(named, version)
    if len(found) != 1:
        there = ", ".join(version_of(item) for item in found or named)
        what = f"{version} means {len(found)} of its versions" if found else f"no version {version}"
        raise ModelError(f"model {name}: {what}; {'these are' if found else 'there are'}: {there}")
    return found[0]


def matching_versions(items: Sequence[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    """Return the Items that a version means: the whole one, the definition's own, or the first characters of a hash.

    Raises:
        ModelError: too few characters.
    """
    exact = [item for item in items if version in (version_of(item), properties_of(item).get("geodl:model_sha256"))]
    own = [item for item in items if version == definition_version(item)]
    if exact or own:
        return exact or own
    if len(version) < SHORTEST_VERSION:
        raise ModelError(f"@{version}: expected {SHORTEST_VERSION} characters of a version at least")
    hashes = {item["id"]: str(properties_of(item).get("geodl:model_sha256") or version_of(item)) for item in items}
    return [item for item in items if hashes[item["id"]].startswith(version.lower())]


def link_versions(items: Sequence[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Return all versions of a model linked with one another (STAC version extension); none becomes deprecated.

    Args:
        items: in any order.
        now: for `updated` of those whose links change.
    """
    ordered = sorted(items, key=lambda item: (created(item), str(item["id"])))
    stamp = now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    linked = []
    for position, item in enumerate(ordered):
        wanted = [link for link in item["links"] if link.get("rel") not in RELS]
        if position > 0:
            wanted.append(_link("predecessor-version", ordered[position - 1]))
        if position < len(ordered) - 1:
            wanted += [_link("successor-version", ordered[position + 1]), _link("latest-version", ordered[-1])]
        is_changed = wanted != item["links"]
        properties = {**item["properties"], "updated": stamp} if is_changed and position < len(ordered) - 1 else None
        linked.append({**item, "links": wanted, "properties": properties or item["properties"]})
    return linked


def _link(rel: str, item: Mapping[str, Any]) -> dict[str, Any]:
    href = next((link["href"] for link in item["links"] if link.get("rel") == "self"), f"./{item['id']}.json")
    return {"rel": rel, "href": href, "type": "application/geo+json", "title": str(item["id"])}

"""A class map as its Item describes it: where it lies, its classes, what it was made from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.scene.item import is_picture, read_scene
from geodl_core.errors import InputError, ItemError

USUAL_ASSET = "classification"
CLASSES = "classification:classes"


@dataclass(frozen=True, slots=True)
class ClassMap:
    """A raster of class ids, and what is known of it."""

    href: str
    asset: str
    names: Mapping[int, tuple[str, ...]]
    """Class id → its title, and other names that it answers to; empty where nothing is known."""
    nodata: float | None = None
    """As the Item says; used where the raster itself says nothing."""
    origin: Mapping[str, str] | None = None
    """Columns of all features: `item_id`, `source_id`, `job_id`, `model`, as far as they are known."""


def class_map_of(item: Mapping[str, Any], asset: str | None = None) -> ClassMap:
    """Return the class map of an Item.

    Args:
        item: with absolute hrefs; a result of geodl, or any that follows STAC's classification extension.
        asset: key; None: `classification`, else the one asset with classes, else the one raster.

    Raises:
        ItemError: there is no such asset, or several could be meant.
    """
    key = asset or _only_asset(item)
    found = item["assets"].get(key)
    if found is None:
        raise ItemError(f"{item['id']}: there is no asset {key}", hint=f"it has {', '.join(item['assets'])}")
    described = {**next(iter(found.get("bands") or ()), {}), **found}
    properties = item["properties"]
    known = {
        "item_id": item["id"] if _is_item(item) else None,
        "source_id": properties.get("geodl:source"),
        "job_id": properties.get("geodl:job_id"),
        "model": properties.get("geodl:model"),
    }
    nodata = described.get("nodata")
    return ClassMap(
        href=str(found["href"]),
        asset=key,
        names=dict(map(_names, described.get(CLASSES) or ())),
        nodata=nodata if isinstance(nodata, (int, float)) else None,
        origin={name: str(value) for name, value in known.items() if value},
    )


def _only_asset(item: Mapping[str, Any]) -> str:
    assets = item["assets"]
    if USUAL_ASSET in assets:
        return USUAL_ASSET
    classified = [key for key, asset in assets.items() if _has_classes(asset)]
    rasters = list(dict.fromkeys(band.asset for band in read_scene(item).bands if not is_picture(band)))
    found = classified or rasters
    if len(found) != 1:
        raise ItemError(
            f"{item['id']}: expected one asset that is a class map, found {', '.join(found) or 'none'}",
            hint="name it with --asset",
        )
    return found[0]


def _has_classes(asset: Any) -> bool:
    bands = asset.get("bands")
    return bool(asset.get(CLASSES)) or (isinstance(bands, list) and len(bands) == 1 and bool(bands[0].get(CLASSES)))


def _is_item(item: Mapping[str, Any]) -> bool:
    """Say whether an Item is one, not a raster that it was made of on the fly."""
    said = next((str(link.get("type")) for link in item.get("links", ()) if link.get("rel") == "self"), "")
    return not said.startswith(("image/", "application/x-"))


def _names(entry: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    names = [str(entry[key]) for key in ("title", "name", "description") if entry.get(key)]
    return int(entry["value"]), tuple(dict.fromkeys(names)) or (str(entry["value"]),)


def class_name(class_map: ClassMap, value: int) -> str:
    """Return a class's name, its number where it has none."""
    return class_map.names.get(value, (str(value),))[0]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which classes are wanted."""

    only: frozenset[int] | None
    """None: all."""
    without: frozenset[int]


def is_selected(selection: Selection, value: int) -> bool:
    """Say whether a class is wanted."""
    return value not in selection.without and (selection.only is None or value in selection.only)


def select(class_map: ClassMap, only: Iterable[str], without: Iterable[str]) -> Selection:
    """Return which classes are meant by names, in upper or lower case, or numbers.

    Raises:
        InputError: a name that no class or several have, or nothing is left.
    """
    wanted = frozenset(_value_of(class_map, word) for word in only)
    unwanted = frozenset(_value_of(class_map, word) for word in without)
    if wanted and wanted <= unwanted:
        raise InputError("--class and --without leave no class")
    return Selection(wanted or None, unwanted)


def _value_of(class_map: ClassMap, word: str) -> int:
    try:
        number = int(word)
    except ValueError:
        number = None
    if number is not None and number in class_map.names:
        return number
    folded = word.strip().casefold()
    found = [value for value, names in class_map.names.items() if folded in (name.casefold() for name in names)]
    if len(found) == 1:
        return found[0]
    if number is not None and not found:
        return number
    known = ", ".join(f"{value} {names[0]}" for value, names in sorted(class_map.names.items()))
    state = "several classes are called so" if found else "no class is called so"
    raise InputError(f"class {word}: {state}", hint=f"the classes are {known}" if known else "give its number")

"""What an order or a command line means: the Item, the model and the arguments of a job."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geodl_core.catalog.open import open_catalog
from geodl_core.domain.area.area import Area, read_area
from geodl_core.domain.model.arguments import read_arguments, split_arguments
from geodl_core.domain.model.model import Model
from geodl_core.domain.plan.job import Arguments
from geodl_core.domain.scene.item_hrefs import reachable_item
from geodl_core.domain.scene.mosaic import Order as MosaicOrder
from geodl_core.domain.scene.mosaic import order_items
from geodl_core.errors import InputError, ItemError
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.remote.access import way
from geodl_core.io.scene.source import read_source
from geodl_core.io.services.services import is_service
from geodl_core.io.stac import parse_item
from geodl_core.service.jobs.detection_options import detection_choice, require_classifier
from geodl_core.service.jobs.model_source import open_model

CATALOG_PREFIX = "catalog:"


@dataclass(frozen=True, slots=True)
class AskedJob:
    """What a command line asks for."""

    item: dict[str, Any]
    """Source Item with absolute hrefs; of a mosaic the first."""
    package: ModelPackage
    model: Model
    arguments: Arguments
    batch_size: int
    out: Path
    catalog: str
    """Path or URL."""
    others: tuple[dict[str, Any], ...] = ()
    """Further Items of a mosaic, in order."""


def read_job(
    items: Sequence[str], model: str, options: Mapping[str, Any], places: tuple[Path, str], is_typed: bool = True
) -> AskedJob:
    """Return what a command line asks for.

    Args:
        items: path or URL of an Item or a raster, a service, or `catalog:COLLECTION/ID`; several for a mosaic.
        model: as `--model` takes it.
        options: those of `cli.job_options.JOB_OPTIONS`, by name.
        places: folder of results; path or URL of the catalog.
        is_typed: whether a user wrote the items; what documents name may not be a service.

    Raises:
        InputError: as their parts; or several Items, and nothing says how to put them together.
    """
    if len(items) > 1:
        _mosaic_order(items, options["mosaic"])
    return with_items(read_itemless_job(model, options, places), items, options["mosaic"], is_typed)


def read_itemless_job(model: str, options: Mapping[str, Any], places: tuple[Path, str]) -> AskedJob:
    """Return what a command line asks for, its Item apart; see `read_job`."""
    package, loaded = open_model(model, places[1], is_strict=options["strict"])
    return job_of(package, loaded, options, places)


def job_of(package: ModelPackage, model: Model, options: Mapping[str, Any], places: tuple[Path, str]) -> AskedJob:
    """Return what options ask of a model that is open, the Item apart; see `read_job`."""
    out, catalog = places
    given = read_arguments(model, split_arguments(options["arguments"]))
    arguments = _arguments(options, given, model)
    return AskedJob({}, package, model, arguments, int(given.get("batch_size", 1)), out, catalog)


def with_item(asked: AskedJob, item: str, is_typed: bool = True) -> AskedJob:
    """Return a job with its Item; see `read_job`."""
    return replace(asked, item=source_of(item, asked.catalog, asked.arguments.area, is_typed))


def with_items(asked: AskedJob, items: Sequence[str], mosaic: MosaicOrder | None, is_typed: bool = True) -> AskedJob:
    """Return a job with its Item, or with the Items of its mosaic; see `read_job`."""
    if len(items) == 1:
        return with_item(asked, items[0], is_typed)
    order = _mosaic_order(items, mosaic)
    sources = [source_of(item, asked.catalog, asked.arguments.area, is_typed) for item in items]
    first, *others = map(dict, order_items(sources, order))
    return replace(asked, item=first, others=tuple(others))


def _mosaic_order(items: Sequence[str], mosaic: MosaicOrder | None) -> MosaicOrder:
    if not mosaic:
        raise InputError(
            f"expected one Item, found {len(items)}", hint="--mosaic first puts them together; geodl run runs each"
        )
    return mosaic


def source_of(item: str, catalog: str, area: str | None, is_typed: bool = True) -> dict[str, Any]:
    """Return the Item that ITEM means; `area` is of interest, as GeoJSON."""
    if item.startswith(CATALOG_PREFIX):
        with open_catalog(catalog) as opened:
            return _reachable(item_of(opened, item), is_local="://" not in catalog)
    found = read_source(item, None if area is None else Area(area), is_typed)
    return _reachable(found, is_local="://" not in item or is_service(item))


def _reachable(item: dict[str, Any], is_local: bool) -> dict[str, Any]:
    """Return an Item by whose hrefs its assets are read under the access in force.

    Args:
        item: with absolute hrefs.
        is_local: by the place that the user named; what the Item says of itself is not believed.

    Raises:
        ItemError: it comes from elsewhere, or service mode is on, and a raster's href is no public URL.
    """
    return reachable_item(item, way().access, is_local=is_local)


def item_of(catalog: Any, item: str) -> dict[str, Any]:
    """Return the Item that `catalog:COLLECTION/ID` means.

    Raises:
        ItemError: there is none.
    """
    collection, item_id = key_of(item)
    found = catalog.get_item(collection, item_id)
    if found is None:
        raise ItemError(f"the catalog has no Item {item_id} in the collection {collection}")
    location = next((link["href"] for link in found["links"] if link["rel"] == "self"), f"./{item_id}.json")
    return parse_item(found, location)


def key_of(item: str) -> tuple[str, str]:
    """Return collection and id of `catalog:COLLECTION/ID`.

    Raises:
        InputError: it is none.
    """
    collection, slash, item_id = item.removeprefix(CATALOG_PREFIX).partition("/")
    if not (collection and slash and item_id):
        raise InputError(f"{item}: expected catalog:COLLECTION/ID")
    return collection, item_id


def _arguments(options: Mapping[str, Any], given: dict[str, Any], model: Model) -> Arguments:

    names = ("pad", "radiometry", "compress", "precision", "cell_size", "crs", "resampling")
    chosen = {name: options[name] for name in names if options[name]}
    if model.detector is None:
        require_classifier(model, options)
    else:
        chosen["detection"] = detection_choice(options, given)
        chosen.pop("crs", None)  # of the polygons: the pixels stay as they are
        least = sorted({given[name] for name in ("threshold", "score_threshold") if name in given})
        if len(least) > 1:
            raise InputError(f"--arg: threshold and score_threshold mean the same, found {least[0]} and {least[1]}")
        given = {**given, "threshold": least[0]} if least else given
    if options["tile_memory"] is not None:
        chosen["tile_memory_bytes"] = options["tile_memory"]
    same = ("threshold", "merge_policy", "predict_background")
    chosen |= {name: given[name] for name in same if name in given}
    scores = given.get("return_probability_raster", "false")
    return Arguments(
        tile_size_px=given.get("tile_size"),
        padding_px=given.get("padding"),
        source_range=value_range(options["source_range"]),
        bands=pairs(options["bands"], "--band"),
        snap=_snap(options["snap"]),
        area=area_of(options["aoi"]),
        masks=_masks(options["masks"]),
        probabilities={"false": None, "true": "uint8"}.get(scores, scores),
        test_time_augmentation=given.get("test_time_augmentation"),
        is_strict=options["strict"],
        **chosen,
    )


def _snap(raster: str | None) -> str | None:
    """Return a raster's path in full, so that the result's Item says it for every folder."""
    return str(Path(raster).resolve()) if raster is not None and Path(raster).exists() else raster


def area_of(text: str | None) -> str | None:
    """Return what --aoi means, as GeoJSON."""
    if text is None:
        return None
    if Path(text).suffix.lower() in (".json", ".geojson") and not Path(text).is_file():
        raise InputError(f"--aoi {text}: expected a GeoJSON file, found none")
    if text.lstrip().startswith("{") or not Path(text).is_file():
        return read_area(text).geojson
    try:
        return read_area(Path(text).read_text(encoding="utf-8-sig")).geojson
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--aoi {text}: expected GeoJSON, found a file that cannot be read as text") from error
    except InputError as error:
        raise InputError(f"--aoi {text}: {error.message}", error.hint) from error


def _masks(texts: tuple[str, ...]) -> dict[str, tuple[int | str, ...]]:
    """Return asset → values and names of classes; either of `=` and `:` may stand between them."""
    masks: dict[str, tuple[int | str, ...]] = {}
    for text in texts:
        asset, sign, words = re.fullmatch(r"([^=:]*)([=:]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        found = [word.strip() for word in words.split(",")]
        if not (asset.strip() and sign and all(re.fullmatch(r"-?\d+|[^\W\d][\w. -]*", word) for word in found)):
            raise InputError(f"--mask {text}: expected ASSET=VALUE,VALUE of whole numbers, or ASSET:NAME,NAME")
        values = tuple(int(word) if re.fullmatch(r"-?\d+", word) else word for word in found)
        masks[asset.strip()] = masks.get(asset.strip(), ()) + values
    return masks


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Return name → value of `NAME=VALUE` texts."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InputError(f"{option} {text}: expected NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def value_range(text: str | None) -> tuple[float, float] | None:
    """Return what --source-range means."""
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError as error:
        raise InputError(f"--source-range {text}: expected MIN,MAX") from error
    return low, high

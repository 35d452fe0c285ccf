"""Class maps as rasters: read strip by strip, and the names that GDAL keeps beside them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
from rasterio.enums import MaskFlags
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.pixels.chip import Mask
from geodl_core.domain.place.href import file_of
from geodl_core.domain.regions.class_map import ClassMap
from geodl_core.domain.window import Window
from geodl_core.errors import ItemError
from geodl_core.io.scene.raster import RasterFacts, decoding, opened, raster_facts

STRIP_PIXELS = 1 << 21
SIDE_FILE = ".aux.xml"
NUMBER = re.compile(r"-?\d+(\.0*)?")
Strip = tuple[npt.NDArray[np.integer], Mask]
"""(h, w) class ids, and where they are valid."""


def class_raster_facts(class_map: ClassMap) -> RasterFacts:
    """Read the header of a class map.

    Raises:
        ItemError: not there, no raster, several bands, or values that are no whole numbers.
        StoreError: a remote raster that does not open.
    """
    facts = raster_facts(class_map.href, class_map.asset)
    kinds = sorted({np.dtype(dtype).kind for dtype in facts.dtypes})
    if len(facts.dtypes) != 1 or kinds[0] not in "iub":
        raise ItemError(
            f"asset {class_map.asset}: expected a class map, one band of whole numbers, "
            f"found {len(facts.dtypes)} of {', '.join(sorted(set(facts.dtypes)))}"
        )
    return facts


def strip_rows(facts: RasterFacts) -> int:
    """Return how many rows are best read at a time: whole blocks."""
    block = facts.block_px[0]
    return max(STRIP_PIXELS // (facts.grid.width * block), 1) * block


def read_strips(class_map: ClassMap, rows: int) -> Iterator[Strip]:
    """Yield a class map in strips, from top to bottom.

    Raises:
        DataError: a block cannot be decoded.
    """
    with opened(class_map.href, class_map.asset) as dataset:
        height, width = dataset.shape
        for top in range(0, height, rows):
            strip = Window(top, 0, min(top + rows, height), width)
            place = {"window": RasterioWindow(0, top, width, strip.height)}
            with decoding(class_map.asset, strip):
                values = dataset.read(1, **place)
                yield values, _validity(dataset, class_map, values, place)


def _validity(dataset: Any, class_map: ClassMap, values: npt.NDArray[Any], place: dict[str, Any]) -> Mask:
    nodata = class_map.nodata if dataset.nodata is None else dataset.nodata
    valid = np.ones(values.shape, np.bool_) if nodata is None else np.asarray(values != nodata)
    flags = dataset.mask_flag_enums[0]
    if MaskFlags.all_valid not in flags and MaskFlags.nodata not in flags:
        valid &= dataset.read_masks(1, **place) > 0
    return valid


def item_beside(raster: str) -> Path | None:
    """Return the Item of a geodl result of which a local file is a raster, where it lies beside it."""
    path = Path(file_of(raster))
    folder = path.absolute().parent
    item = folder / f"{folder.name}.json"
    return item if path.is_file() and path.suffix.lower() in (".tif", ".tiff") and item.is_file() else None


def side_names(href: str) -> dict[int, tuple[str, ...]]:
    """Return class id → name from GDAL's file beside a local raster: its attribute table, else its category names."""
    path = Path(file_of(href) + SIDE_FILE)
    if not path.is_file():
        return {}
    try:
        root = ET.parse(path).getroot()  # noqa: S314  # expat stops entities that grow without end
    except (ET.ParseError, OSError):
        return {}
    return _table_names(root) or {
        value: (name.text,) for value, name in enumerate(root.iterfind(".//CategoryNames/Category")) if name.text
    }


def _table_names(root: ET.Element) -> dict[int, tuple[str, ...]]:
    table = root.find(".//GDALRasterAttributeTable")
    if table is None:
        return {}
    fields = [(field.findtext("Name") or "").casefold() for field in table.iterfind("FieldDefn")]
    names = next((name for name in ("class", "class_name", "classname", "name", "label") if name in fields), None)
    if names is None or "value" not in fields:
        return {}
    rows = [[cell.text or "" for cell in row.iterfind("F")] for row in table.iterfind("Row")]
    found = [(row[fields.index("value")], row[fields.index(names)]) for row in rows if len(row) == len(fields)]
    return {int(float(value)): (name,) for value, name in found if name and NUMBER.fullmatch(value)}

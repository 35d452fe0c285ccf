"""Tables of given objects: their shapes, and columns that are added to them."""

from collections.abc import Mapping
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.model.object_chips import Shapes
from geodl_core.errors import InputError


def shapes_of(frame: Any, origin: str) -> tuple[Shapes, str]:
    """Return the (N,) shapes of a GeoDataFrame, None where a row has none, and their CRS as WKT.

    Raises:
        InputError: it has no CRS.
    """
    if frame.crs is None:
        raise InputError(f"{origin}: expected features with a CRS, found none", hint="write it into the file first")
    return np.asarray(frame.geometry.array, np.object_), frame.crs.to_wkt()


def with_columns(frame: Any, columns: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Return a GeoDataFrame with further columns; of masked arrays what is masked is missing."""
    added = {name: _with_gaps(values) for name, values in columns.items()}
    whole = [name for name, values in columns.items() if isinstance(values, np.ma.MaskedArray)]
    return frame.assign(**added).astype(dict.fromkeys(whole, "Int32"))


def image_table(item_id: str, outline: shapely.Polygon, crs: str) -> Any:
    """Return a GeoDataFrame of one row: an Item, and the outline of its image."""
    return geopandas.GeoDataFrame({"item_id": [item_id]}, geometry=[outline], crs=crs)


def _with_gaps(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not isinstance(values, np.ma.MaskedArray):
        return values
    gapped: npt.NDArray[np.object_] = np.asarray(values.data, np.object_)
    gapped[np.ma.getmaskarray(values)] = None
    return gapped

"""Files of features: read whatever people have, write detections and tables of features, whole or not at all."""

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import geopandas as gpd
import pyarrow as pa
import pyogrio
import shapely

from geodl_core.domain.detection.detections import Detections
from geodl_core.domain.detection.table import VectorFacts, VectorSpec
from geodl_core.domain.grid import WGS84
from geodl_core.errors import DataError, InputError, StoreError
from geodl_core.io.store import atomic_file
from geodl_core.io.vector.arrays import blobs
from geodl_core.io.vector.columns import COVERING, GEOMETRY, detection_batches, schema_of
from geodl_core.io.vector.geoparquet import COMPRESSION, MOST_ROWS, VERSION, Extents, facts_of, write_geoparquet
from geodl_core.io.vector.wkb import LITTLE_ENDIAN

Format = Literal["geoparquet", "gpkg", "geojson", "fgb"]
SUFFIXES: dict[str, Format] = {
    ".parquet": "geoparquet",
    ".geoparquet": "geoparquet",
    ".gpkg": "gpkg",
    ".geojson": "geojson",
    ".json": "geojson",
    ".fgb": "fgb",
}
"""Of files that can be written; a Shapefile, which is several files, can be read only."""
DRIVERS = {"gpkg": "GPKG", "geojson": "GeoJSON", "fgb": "FlatGeobuf"}
"""GDAL's names."""
LAYER = "detections"
"""Never the file's name, so that the bytes do not depend on it."""
GDAL_WGS84 = "EPSG:4326"
"""What these formats call longitude and latitude; their order is x, y whatever the code says."""
NO_MOMENT = "1970-01-01T00:00:00.000Z"
READABLE = "GeoParquet, GeoPackage, GeoJSON, FlatGeobuf or Shapefile (.parquet, .gpkg, .geojson, .json, .fgb, .shp)"


def read_features(path: str | Path) -> gpd.GeoDataFrame:
    """Read a file of features.

    Args:
        path: of a local file, whose suffix says its format.

    Raises:
        InputError: there is no such file, its suffix is of another format, or it has no geometries or several layers
            with them.
        DataError: it is not what its suffix says, or is damaged.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path}: expected a file of features, found {'a folder' if file.is_dir() else 'none'}")
    suffix = file.suffix.lower()
    if SUFFIXES.get(suffix) == "geoparquet":
        return _read_geoparquet(file)
    if suffix not in (*SUFFIXES, ".shp"):
        raise InputError(f"{path}: expected {READABLE}, found {suffix or 'no suffix'}")
    try:
        return _read_layer(file)
    except (RuntimeError, ValueError, OSError) as error:  # of GDAL's errors, what pyogrio makes
        raise DataError(f"{path}: cannot be read as {suffix}: {str(error)[:120]}") from error


def _read_layer(file: Path) -> gpd.GeoDataFrame:
    layers = pyogrio.list_layers(file).tolist()
    if not layers:
        raise ValueError("it has no layer")
    placed = [name for name, kind in layers if kind is not None]
    if len(placed) != 1:
        found = f"{len(placed)}: {', '.join(placed)}" if placed else "none"
        hint = "write the one you mean to a file of its own"
        raise InputError(f"{file}: expected one layer with geometries, found {found}", hint=hint)
    # Of FlatGeobuf with features that are nowhere, GDAL 3.12's columns crash the process.
    is_safe = file.suffix.lower() != ".fgb"
    frame = gpd.read_file(file, layer=placed[0], engine="pyogrio", use_arrow=is_safe)
    if file.suffix.lower() == ".fgb":
        # GDAL takes the end of a FlatGeobuf file that was cut off for the end of its features.
        expected = pyogrio.read_info(file, layer=placed[0])["features"]  # -1 where the file does not say
        if len(frame) < expected:
            raise ValueError(f"expected {expected} features, found {len(frame)}")
    return frame


def _read_geoparquet(file: Path) -> gpd.GeoDataFrame:
    try:
        return gpd.read_parquet(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read as GeoParquet: {str(error)[:120]}") from error
    except ValueError as error:
        raise InputError(f"{file}: expected GeoParquet with geometries: {str(error)[:120]}") from error


def write_features(frame: gpd.GeoDataFrame, path: Path, layer: str = LAYER) -> None:
    """Write a table of features in the format of the path's suffix, whole or not at all; same table, same bytes.

    GeoJSON is brought to OGC:CRS84 where the table has a CRS (RFC 7946, section 4). The index is left out.

    Args:
        frame: the table.
        path: whose suffix says the format.
        layer: its name, in formats whose files have several.

    Raises:
        InputError: the suffix is of no format that can be written, or the format has no place for a column.
        StoreError: the file cannot be written.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: expected one of {', '.join(SUFFIXES)} to write, found {path.suffix or 'no suffix'}")
    with atomic_file(path) as draft, _refusals(path):
        if kind == "geoparquet":
            # A column of that name is the table's own: then bounds are not added.
            is_free = COVERING not in frame.columns
            frame.to_parquet(
                draft, index=False, compression=COMPRESSION, schema_version=VERSION, write_covering_bbox=is_free
            )
            return
        if frame.crs is not None and (kind == "geojson" or frame.crs == WGS84):
            frame = frame.to_crs(GDAL_WGS84)
        options = _layer_options(kind, frame.crs is not None)
        if kind == "fgb" and frame.geometry.isna().any():
            # Its index has no place for what is nowhere.
            options["SPATIAL_INDEX"] = "NO"
        with warnings.catch_warnings(category=UserWarning, action="ignore"):  # that there is no CRS is known
            pyogrio.write_dataframe(frame, draft, layer=layer, driver=DRIVERS[kind], layer_options=options)
        _settle(draft, kind)


def write_vector(path: Path, detections: Detections, spec: VectorSpec, kind: Format) -> VectorFacts:
    """Write detections in a format, whole or not at all; same detections, same bytes.

    Other formats than GeoParquet have no `bbox` column, and where an object is a multipolygon all are. GeoJSON is
    RFC 7946: in OGC:CRS84 whatever the spec says, with 7 decimals, which the facts tell.

    Raises:
        ItemError: an object has no place in the output CRS.
        StoreError: the file cannot be written.
    """
    if kind == "geoparquet":
        return write_geoparquet(path, detections, spec)
    wanted = replace(spec, crs=WGS84) if kind == "geojson" else spec
    extents = Extents(wanted.crs)
    parts = [_plain(schema_of(wanted).empty_table())]
    for batch in detection_batches(detections, wanted, MOST_ROWS):
        extents.feed(batch)
        parts.append(_plain(pa.Table.from_batches([batch.columns])))
    facts, table = facts_of(detections, wanted, extents, None), pa.concat_tables(parts)
    types = facts.geometry_types or (spec.geometry.title(),)
    if "MultiPolygon" in types and kind != "geojson":
        types = ("MultiPolygon",)
        table = table.set_column(table.schema.get_field_index(GEOMETRY), GEOMETRY, _all_multiple(table[GEOMETRY]))
        facts = replace(facts, geometry_types=types)
    with atomic_file(path) as draft, _refusals(path):
        pyogrio.write_arrow(
            table,
            draft,
            layer=LAYER,
            driver=DRIVERS[kind],
            geometry_name=GEOMETRY,
            geometry_type=types[-1] if len(types) == 1 else "Unknown",
            crs=GDAL_WGS84 if wanted.crs == WGS84 else wanted.crs,
            layer_options=_layer_options(kind, is_placed=True),
        )
        _settle(draft, kind)
    return facts


def _plain(table: pa.Table) -> pa.Table:
    """Return a table of columns that GDAL takes: no dictionaries, no structs."""
    fields = [field for field in table.schema if field.name != COVERING]
    types = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in fields]
    schema = pa.schema([field.with_type(kind) for field, kind in zip(fields, types, strict=True)])
    return table.drop_columns([COVERING]).cast(schema)


def _all_multiple(geometry: pa.ChunkedArray) -> pa.Array:
    """Return WKB in which polygons are multipolygons of one."""
    shapes = shapely.from_wkb(geometry.to_numpy())
    single = shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON
    shapes[single] = shapely.multipolygons(shapes[single][:, None])
    return blobs(shapely.to_wkb(shapes, byte_order=LITTLE_ENDIAN))


def _layer_options(kind: Format, is_placed: bool) -> dict[str, str]:
    return {"RFC7946": "YES"} if kind == "geojson" and is_placed else {}


def _settle(draft: Path, kind: Format) -> None:
    """Take out of a file when it was written, which GeoPackage says of each layer."""
    if kind == "gpkg":
        with closing(sqlite3.connect(draft)) as database, database:
            database.execute("UPDATE gpkg_contents SET last_change = ?", (NO_MOMENT,))


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn the refusals of GDAL and Arrow to write into errors that name the path."""
    try:
        yield
    except (NotImplementedError, ValueError, TypeError, pa.ArrowException) as error:
        hint = "leave out the column that it names, or write another format"
        raise InputError(f"{path}: the table cannot be written as {path.suffix}: {str(error)[:120]}", hint) from error
    except (RuntimeError, sqlite3.Error) as error:
        raise StoreError(f"{path}: cannot be written: {str(error)[:120]}", hint="write to another place") from error

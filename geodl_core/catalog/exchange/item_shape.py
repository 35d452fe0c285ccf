"""Which Arrow type holds a value of all Items of a Collection: found by looking at each of them once."""

from typing import Any

import pyarrow as pa

from geodl_core.errors import InputError

TIMES = frozenset(
    {"datetime", "start_datetime", "end_datetime", "created", "updated", "expires", "published", "unpublished"}
)
"""Properties that stac-geoparquet keeps as time stamps."""
GEOMETRY = "proj:geometry"
"""Kept as WKB where it is a property or a member of an asset (stac-geoparquet specification 1.0)."""
EXACT = "geodl:exact"
"""Column with what the others cannot hold: a JSON array of [path] to remove and [path, value] to set."""
CORE = ("type", "stac_version", "stac_extensions", "id", "collection", "links", "assets")
"""Members of an Item that are columns as they are."""
RESERVED = frozenset({*CORE, "geometry", "bbox", "properties", EXACT})
MOST_KEYS = 500
"""Members of one object over all Items; beyond it is kept as JSON text."""
MOST_COLUMNS = 4_000
"""Leaves of a file: its footer tells of each in every row group."""
DEEPEST = 16
"""Levels below a column; what lies deeper is kept as JSON text."""
TIME = pa.timestamp("us", tz="UTC")
_BOX = ("xmin", "ymin", "xmax", "ymax")
_BOX_3D = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")
_KINDS = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}
_TYPES = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string(), "wkb": pa.binary()}


class Shape:
    """The kinds of values at one place, over all Items that it was fed."""

    __slots__ = ("element", "keys", "kind")

    def __init__(self) -> None:
        self.kind = "null"
        """`null`, a kind of `_TYPES`, `list`, `dict`, or `text`: kinds that no type holds, kept as JSON text."""
        self.keys: dict[str, Shape] = {}
        self.element: Shape | None = None

    def feed(self, value: Any, level: int = 0, geometry_level: int = -1) -> None:
        """Take in a value.

        Args:
            value: of JSON.
            level: how deep it lies below its column.
            geometry_level: at which level an object's `proj:geometry` is a geometry.
        """
        if value is None or self.kind == "text":
            return
        kind = "text" if level > DEEPEST else _kind(value)
        if self.kind != kind:
            self.kind = _joined(self.kind, kind)
        if self.kind == "list":
            element = self.element = self.element or Shape()
            for one in value:
                element.feed(one, level + 1, geometry_level)
        elif self.kind == "dict":
            keys = self.keys
            for key, one in value.items():
                child = keys.get(key) or keys.setdefault(key, Shape())
                if key == GEOMETRY and level == geometry_level:
                    child.kind = "wkb"
                else:
                    child.feed(one, level + 1, geometry_level)
            if len(keys) > MOST_KEYS:
                self.kind = "text"

    def arrow(self) -> pa.DataType:
        """Return the type; objects' members by name, so that it does not depend on who was fed first."""
        if self.kind == "list":
            return pa.list_((self.element or Shape()).arrow())
        if self.kind == "dict" and self.keys:
            return pa.struct([(key, self.keys[key].arrow()) for key in sorted(self.keys)])
        # Parquet has no objects without members.
        return _TYPES.get(self.kind) or (pa.string() if self.kind == "text" else pa.null())

    def leaves(self) -> int:
        """Return how many columns of a file that makes."""
        below = [*self.keys.values(), *([self.element] if self.element else [])]
        return sum(one.leaves() for one in below) if self.kind in ("list", "dict") and below else 1


class ItemShapes:
    """The columns of all Items of a Collection. An accumulator."""

    def __init__(self) -> None:
        self.core = {name: Shape() for name in CORE}
        self.properties: dict[str, Shape] = {}
        self.is_3d = False
        """Whether any bounding box has heights."""

    def feed(self, item: dict[str, Any]) -> None:
        """Take in an Item."""
        for name, shape in self.core.items():
            shape.feed(item.get(name), geometry_level=1 if name == "assets" else -1)
        for name, value in item["properties"].items():
            if name in RESERVED:
                continue
            shape = self.properties.get(name) or self.properties.setdefault(name, Shape())
            if name == GEOMETRY:
                shape.kind = "wkb"
            elif name not in TIMES:
                shape.feed(value)
        bbox = item.get("bbox")
        self.is_3d = self.is_3d or (isinstance(bbox, list) and len(bbox) == 6)

    @property
    def box_names(self) -> tuple[str, ...]:
        """Members of the bounding box, in the order of GeoJSON."""
        return _BOX_3D if self.is_3d else _BOX

    def schema(self, collection_id: str) -> pa.Schema:
        """Return the columns.

        Raises:
            InputError: Items that differ so much that a table does not hold them.
        """
        leaves = sum(shape.leaves() for shape in (*self.core.values(), *self.properties.values()))
        if leaves > MOST_COLUMNS:
            raise InputError(
                f"collection {collection_id}: expected Items of one make, {MOST_COLUMNS:,} columns at most, "
                f"found {leaves:,}",
                hint="--format ndjson takes any Items",
            )
        # An object that never has a member is left out: all readers take its absence for that.
        core = [(name, shape.arrow()) for name, shape in self.core.items() if shape.kind != "dict" or shape.keys]
        box = pa.struct([(name, pa.float64()) for name in self.box_names])
        properties = {name: TIME if name in TIMES else shape.arrow() for name, shape in self.properties.items()}
        properties["datetime"] = TIME
        return pa.schema(
            [
                *core,
                ("geometry", pa.binary()),
                ("bbox", box),
                *((name, properties[name]) for name in sorted(properties)),
                (EXACT, pa.string()),
            ]
        )


def _kind(value: Any) -> str:
    kind = _KINDS.get(value.__class__, "text")
    return "text" if kind == "int" and not -(2**63) <= value < 2**63 else kind


def _joined(one: str, other: str) -> str:
    if one == "null":
        return other
    return "float" if {one, other} == {"int", "float"} else "text"

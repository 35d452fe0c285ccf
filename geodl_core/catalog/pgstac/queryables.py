"""What pgstac is told about properties, so that other programs on the same database sort numbers as numbers too."""

from typing import Any

_TIME = {"type": "string", "format": "date-time"}
_NUMBER, _TEXT, _COUNT, _FLAG = {"type": "number"}, {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
DEFINITIONS: dict[str, dict[str, Any]] = {
    "created": _TIME,
    "updated": _TIME,
    "processing:datetime": _TIME,
    "gsd": _NUMBER,
    "eo:cloud_cover": _NUMBER,
    "eo:snow_cover": _NUMBER,
    "view:off_nadir": _NUMBER,
    "view:sun_azimuth": _NUMBER,
    "view:sun_elevation": _NUMBER,
    "sat:relative_orbit": _COUNT,
    "sat:absolute_orbit": _COUNT,
    "platform": _TEXT,
    "constellation": _TEXT,
    "grid:code": _TEXT,
    "proj:code": _TEXT,
    "version": _TEXT,
    "deprecated": _FLAG,
    "geodl:model": _TEXT,
    "geodl:job_id": _TEXT,
    "geodl:detections": _COUNT,
}
"""Property → its JSON schema. None gets an index by pgstac: that would refuse Items whose value is of another type."""

"""A job: one Item, one model, one set of arguments; its id is a hash of what determines the result's bytes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from geodl_core.domain.grid import Grid
from geodl_core.domain.radiometry import Kind, Radiometry
from geodl_core.errors import InputError

RESULT_VERSION = 1
"""Raised whenever the same job would give other bytes than before."""

Pad = Literal["network", "reflect", "edge", "constant"]
Compression = Literal["deflate", "zstd", "lzw"]
PADS: tuple[Pad, ...] = ("network", "reflect", "edge", "constant")
COMPRESSIONS: tuple[Compression, ...] = ("deflate", "zstd", "lzw")


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the user may choose of a run; None leaves the choice to the model and the scene."""

    pad: Pad | None = None
    """What the network sees beyond the scene: nothing, so that its own padding applies as in whole-image inference
    (`network`), the scene's mirror image, its border pixel repeated, or 0. By default `network` where it takes any
    size, else `reflect`."""
    tile_size_px: int | None = None
    """Side of the read window."""
    padding_px: int | None = None
    """The halo, where the model does not crop by itself."""
    threshold: float | None = None
    radiometry: Kind | None = None
    source_range: tuple[float, float] | None = None
    compress: Compression = "deflate"
    """Of the COG; all are lossless."""
    bands: Mapping[str, str] = field(default_factory=dict)
    """Wanted band → asset of the Item."""

    def __post_init__(self) -> None:
        if self.pad is not None and self.pad not in PADS:
            raise InputError(f"pad: expected one of {', '.join(PADS)}, found {self.pad}")
        if self.compress not in COMPRESSIONS:
            raise InputError(f"compress: expected one of {', '.join(COMPRESSIONS)}, found {self.compress}")
        for name, value in (("tile_size", self.tile_size_px), ("padding", self.padding_px)):
            if value is not None and value < 0:
                raise InputError(f"{name}: expected a number of pixels from 0 on, found {value}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"threshold: expected 0 to 1, found {self.threshold:g}")


@dataclass(frozen=True, slots=True)
class InputIdentity:
    """What tells one version of an asset's bytes from another, without its href."""

    asset: str
    index: int
    content: str
    """`file:checksum`, else ETag and size, else size and modification time."""
    nodata: float | None
    """Which the Item may say where the file does not."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that the result depends on."""

    collection: str | None
    item_id: str
    inputs: tuple[InputIdentity, ...]
    model_digest: str
    grid: Grid
    radiometry: Radiometry
    pad: Pad
    core_px: tuple[int, int]
    halo_px: int
    blend_px: int
    threshold: float
    compress: Compression


def job_id(job: Job) -> str:
    """Return the job's content hash, SHA-256 in hexadecimal."""
    text = json.dumps({"result_version": RESULT_VERSION, **asdict(job)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def arguments_json(arguments: Arguments) -> dict[str, Any]:
    """Return the arguments that were given, by the names of the command line."""
    given = {
        "pad": arguments.pad,
        "compress": arguments.compress,
        "tile_size": arguments.tile_size_px,
        "padding": arguments.padding_px,
        "threshold": arguments.threshold,
        "radiometry": arguments.radiometry,
        "source_range": list(arguments.source_range) if arguments.source_range else None,
        "bands": dict(arguments.bands) or None,
    }
    return {name: value for name, value in given.items() if value is not None}

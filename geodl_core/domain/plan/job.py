"""A job: one Item, one model, one set of arguments; its id is a hash of what determines the result's bytes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from geodl_core.domain.detection.choice import PLAIN, DetectionChoice
from geodl_core.domain.grid import Grid
from geodl_core.domain.naming import RESULT_VERSION
from geodl_core.domain.pixels.augment import MERGE_POLICIES, MergePolicy
from geodl_core.domain.pixels.product import SCORE_TYPES, ScoreType
from geodl_core.domain.place.href import hide_secrets
from geodl_core.domain.plan.placing import RESAMPLINGS, Resampling
from geodl_core.domain.scene.masks import BitField
from geodl_core.domain.scene.radiometry import Kind, Radiometry
from geodl_core.errors import InputError

Pad = Literal["network", "reflect", "edge", "constant"]
Compression = Literal["deflate", "zstd", "lzw"]
PADS: tuple[Pad, ...] = ("network", "reflect", "edge", "constant")
COMPRESSIONS: tuple[Compression, ...] = ("deflate", "zstd", "lzw")
TILE_MEMORY_BYTES = 512 << 20
LEAST_TILE_MEMORY_BYTES = 16 << 20
Precision = Literal["fp32", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the user may choose of a run; None leaves the choice to the model and the scene."""

    pad: Pad | None = None
    """What the network sees beyond the scene: nothing, so that its own padding applies as in whole-image inference
    (`network`), the scene's mirror image, its border pixel repeated, or 0. By default `network` where it takes any
    size, else `reflect`."""
    tile_size_px: int | None = None
    """Side of the read window."""
    tile_memory_bytes: int = TILE_MEMORY_BYTES
    """Of a tile, while the network runs on it; where the network takes any size, it bounds the tile's."""
    padding_px: int | None = None
    """The halo, where the model does not crop by itself."""
    threshold: float | None = None
    radiometry: Kind | None = None
    source_range: tuple[float, float] | None = None
    compress: Compression = "deflate"
    """Of the COG; all are lossless."""
    bands: Mapping[str, str] = field(default_factory=dict)
    """Wanted band → asset of the Item."""
    area: str | None = None
    """GeoJSON (`domain.area.area`): outside it the result is nodata."""
    masks: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    """Asset of the Item → its values, or names of classes or bits, under which the result is nodata."""
    test_time_augmentation: bool | None = None
    """Whether the network looks at each tile turned and mirrored too; None leaves it to the definition."""
    merge_policy: MergePolicy = "mean"
    """Of the scores that it then gives."""
    predict_background: bool = True
    """False: the class of id 0 is never chosen."""
    probabilities: ScoreType | None = None
    """Type of a raster of scores, one band a class, beside the class map."""
    precision: Precision = "fp32"
    is_strict: bool = False
    """Refuse a scene that the model was not made for."""
    cell_size: str | None = None
    """Of the grid, in units of its CRS, or in metres, as `20m`."""
    crs: str | None = None
    """Of the grid: an authority's code or WKT."""
    snap: str | None = None
    """Path or URL of a raster whose CRS, cells and lines of pixels the grid has."""
    resampling: Resampling = "bilinear"
    """Between the pixels of bands that are coarser than the grid or lie otherwise; finer ones are averaged, except
    for `nearest`."""
    detection: DetectionChoice = PLAIN
    """Of a detector's run."""

    def __post_init__(self) -> None:
        domains: tuple[tuple[str, object, tuple[object, ...]], ...] = (
            ("pad", self.pad, (None, *PADS)),
            ("compress", self.compress, COMPRESSIONS),
            ("merge_policy", self.merge_policy, MERGE_POLICIES),
            ("probabilities", self.probabilities, (None, *SCORE_TYPES)),
            ("precision", self.precision, PRECISIONS),
            ("resampling", self.resampling, RESAMPLINGS),
        )
        for name, found, domain in domains:
            if found not in domain:
                raise InputError(f"{name}: expected one of {', '.join(map(str, filter(None, domain)))}, found {found}")
        if self.tile_memory_bytes < LEAST_TILE_MEMORY_BYTES:
            raise InputError(f"tile_memory: expected at least 16 MiB, found {self.tile_memory_bytes} bytes")
        for name, value in (("tile_size", self.tile_size_px), ("padding", self.padding_px)):
            if value is not None and value < 0:
                raise InputError(f"{name}: expected a number of pixels from 0 on, found {value}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"threshold: expected 0 to 1, found {self.threshold:g}")
        if self.snap is not None and (self.crs is not None or self.cell_size is not None):
            raise InputError("snap: the raster gives CRS and cell size; expected neither --crs nor --cell-size")


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
class MosaicItem:
    """What the result depends on of one Item of a mosaic."""

    collection: str | None
    item_id: str
    inputs: tuple[InputIdentity, ...]
    masks: tuple[tuple[InputIdentity, tuple[int, ...]], ...]
    mask_bits: tuple[tuple[BitField, ...], ...]
    radiometry: Radiometry


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
    area: str | None = None
    masks: tuple[tuple[InputIdentity, tuple[int, ...]], ...] = ()
    """What tells the content of each mask, and its values that are left out."""
    mask_bits: tuple[tuple[BitField, ...], ...] = ()
    """Of each mask the fields of bits that are left out; none where no mask has any."""
    test_time_augmentation: bool = False
    merge_policy: MergePolicy = "mean"
    predict_background: bool = True
    probabilities: ScoreType | None = None
    precision: Precision = "fp32"
    mosaic: tuple[MosaicItem, ...] = ()
    """Every Item in order, the first among them; none where the job is of one."""
    resampling: Resampling = "bilinear"
    detection: DetectionChoice | None = None
    """Of a detector; what was left open is filled in."""


def job_id(job: Job) -> str:
    """Return the job's content hash, SHA-256 in hexadecimal."""
    facts = {"result_version": RESULT_VERSION, **asdict(job)}
    for name in ("mask_bits", "mosaic", "detection"):
        if not facts[name]:
            del facts[name]
    if job.resampling == "bilinear":
        del facts["resampling"]
    if not job.radiometry.floor:
        del facts["radiometry"]["floor"]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
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
        "aoi": arguments.area,
        "mask": {asset: list(values) for asset, values in arguments.masks.items()} or None,
        "test_time_augmentation": arguments.test_time_augmentation,
        "merge_policy": arguments.merge_policy if _is_merging(arguments) else None,
        "predict_background": None if arguments.predict_background else False,
        "return_probability_raster": arguments.probabilities,
        "precision": arguments.precision if arguments.precision != "fp32" else None,
        "cell_size": arguments.cell_size,
        "crs": arguments.crs,
        "snap": hide_secrets(arguments.snap) if arguments.snap else None,
        "resampling": arguments.resampling if arguments.resampling != "bilinear" else None,
        "tile_memory": arguments.tile_memory_bytes if arguments.tile_memory_bytes != TILE_MEMORY_BYTES else None,
        **_detection_json(arguments.detection),
    }
    return {name: value for name, value in given.items() if value is not None}


def _is_merging(arguments: Arguments) -> bool:
    """Say whether scores are merged otherwise than usual; detectors do not take that argument at all."""
    return bool(arguments.test_time_augmentation) and arguments.merge_policy != "mean"


def _detection_json(choice: DetectionChoice) -> dict[str, Any]:
    """Return what was chosen otherwise than usual of a detector's run, by the names of the command line."""
    names = {"simplify_px": "simplify", "has_area": "area", "formats": "format"}
    given = {field.name: getattr(choice, field.name) for field in fields(DetectionChoice)}
    chosen = {names.get(name, name): value for name, value in given.items() if value != getattr(PLAIN, name)}
    if "format" in chosen:
        chosen["format"] = list(chosen["format"])
    if "tta_scales" in chosen:
        chosen["tta_scales"] = ",".join(f"{scale:g}" for scale in chosen["tta_scales"])
    return chosen

"""The yardstick: a synthetic scene, its crops, their Items and the network's definition, made where missing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window

from benchmarks.process import python

CROP_OFFSET_PX = 2560
NETWORK = "unet_small.onnx"
READ_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Where the data lie."""

    folder: Path
    """Of what is made: kept for the next time."""
    shared: Path
    """Of the scripts that make it, the bound and the network."""
    scene_px: int
    """Of the whole scene, which the crops are cut from."""

    @property
    def network(self) -> Path:
        return self.shared / NETWORK

    def scene(self) -> Path:
        """Return the whole scene."""
        path = self.folder / ("scene.tif" if self.scene_px == 10980 else f"scene{self.scene_px}.tif")
        if not path.exists():
            self._make("gen_scene.py", path, self.scene_px)
        return path

    def crop(self, size_px: int) -> Path:
        """Return a square crop of the scene."""
        path = self.folder / f"crop{size_px}.tif"
        if not path.exists():
            offset = min(CROP_OFFSET_PX, self.scene_px - size_px)
            self._make("mkcrop.py", path, size_px, offset, scene=self.scene())
        return path

    def half(self, size_px: int) -> Path:
        """Return the crop with nodata in its left half."""
        path, crop = self.folder / f"half{size_px}.tif", self.crop(size_px)
        if not path.exists():
            _say(path)
            plain, part = path.with_suffix(".plain.tif"), path.with_suffix(".part.tif")
            _blank_left_half(crop, plain)
            options = {"compress": "DEFLATE", "predictor": "YES", "blocksize": 512, "overviews": "AUTO"}
            copy_raster(plain, part, driver="COG", **options)
            plain.unlink()
            part.rename(path)
        return path

    def reference(self, size_px: int) -> Path:
        """Return the exact classes of a crop, as whole-image inference has them."""
        path = self.folder / f"reference{size_px}.npy"
        if not path.exists():
            _say(path)
            part = path.with_suffix(".part.npy")
            python(self.shared / "agreement.py", "ref", self.crop(size_px), self.network, part)
            part.rename(path)
        return path

    def _make(self, script: str, path: Path, *arguments: object, scene: Path | None = None) -> None:
        """Call one of the shared scripts; what a stopped one leaves is not taken for a raster."""
        _say(path)
        part = path.with_suffix(".part.tif")
        words = (*arguments, part, scene) if scene else (part, *arguments)
        python(self.shared / script, *words)
        part.rename(path)


def write_emd(yardstick: Yardstick, folder: Path) -> Path:
    """Write the network's definition beside a copy of the network; return its path."""
    shutil.copyfile(yardstick.network, folder / NETWORK)
    classes = [{"Value": value, "Name": f"c{value}", "Color": [50 * value, 20, 30]} for value in range(5)]
    definition = {
        "Framework": "ONNX",
        "ModelType": "ImageClassification",
        "ModelFile": NETWORK,
        "ImageHeight": 1136,
        "ImageWidth": 1136,
        "ExtractBands": [0, 1, 2, 3],
        "DataRange": [0, 1],
        "Classes": classes,
    }
    path = folder / "unet_small.emd"
    path.write_text(json.dumps(definition))
    return path


def write_item(href: str, folder: Path) -> Path:
    """Write the Item of one of the rasters; return its path."""
    fields = {"data_type": "uint16", "raster:scale": 0.0001, "raster:offset": 0, "nodata": 0}
    kind = "image/tiff; application=geotiff; profile=cloud-optimized"
    bands = [{"name": name, **fields} for name in ("blue", "green", "red", "nir")]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": Path(href).stem,
        "collection": "yardstick",
        "geometry": {"type": "Point", "coordinates": [15, 47]},
        "bbox": [15, 47, 15, 47],
        "properties": {"datetime": "2026-06-01T00:00:00Z"},
        "links": [],
        "assets": {"image": {"href": href, "type": kind, "roles": ["data"], "bands": bands}},
    }
    path = folder / f"{item['id']}.json"
    path.write_text(json.dumps(item))
    return path


def default_folder() -> Path:
    """Return where data are kept unless said otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "geodl-bench"


def warm(path: Path) -> None:
    """Read a file, so that the first run of a pair does not pay for the disk."""
    with path.open("rb") as file:
        while file.read(READ_BYTES):
            pass


def _blank_left_half(crop: Path, path: Path) -> None:
    """Copy a raster without overviews, a row of blocks at a time, since a child's peak starts at its parent's."""
    with rasterio.open(crop) as source:
        size = source.width
        wanted = ("count", "crs", "dtype", "height", "nodata", "transform", "width")
        profile = {name: source.profile[name] for name in wanted}
        tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "interleave": "pixel"}
        with rasterio.open(path, "w", driver="GTiff", **profile, **tiles) as target:
            for top in range(0, size, 512):
                window = Window(0, top, size, min(512, size - top))
                values: np.ndarray = source.read(window=window)
                values[:, :, : size // 2] = source.nodata
                target.write(values, window=window)


def _say(path: Path) -> None:
    print(f"making {path.name}", file=sys.stderr, flush=True)

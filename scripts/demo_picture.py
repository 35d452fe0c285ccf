"""Draw the demo's scenes and what was found in them: demo_picture.py OUT_FOLDER."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

SIDE_PX = 914
DETAIL_PX = SIDE_PX // 2
"""Side of what is shown enlarged."""
GAP_PX = 10
BRIGHTEST = 0.25
"""Reflectance shown as white."""
EDGE = (16, 16, 16)
SIDES = [f"box_px_{side}" for side in ("xmin", "ymin", "xmax", "ymax")]


def true_colour(scene: Path) -> np.ndarray:
    """Return (3, h, w) uint8; nodata is white."""
    bands = []
    for name in ("B04", "B03", "B02"):
        with rasterio.open(scene / f"{name}.tif") as dataset:
            bands.append(dataset.read(1, out_shape=(SIDE_PX, SIDE_PX)))
    values = np.stack(bands).astype("float32")
    shown = np.clip((values * 1e-4 - 0.1) / BRIGHTEST, 0, 1) ** (1 / 1.6) * 255
    return np.where(values == 0, 255, shown).astype("uint8")


def classes(cog: Path) -> np.ndarray:
    """Return (3, h, w) uint8 in the colours of the file; nodata is white."""
    with rasterio.open(cog) as dataset:
        values = dataset.read(1, out_shape=(SIDE_PX, SIDE_PX))
        table = np.full((256, 3), 255, "uint8")
        for value, colour in dataset.colormap(1).items():
            table[value] = colour[:3]
        table[int(dataset.nodata)] = 255
    return table[values].transpose(2, 0, 1)


@dataclass(frozen=True, slots=True)
class Found:
    """Objects of an image."""

    image: Path
    boxes: np.ndarray
    """(N, 4) in pixels of the image."""
    ids: np.ndarray
    colours: dict[int, list[int]]


def read_found(image: Path, folder: Path) -> Found:
    """Read what was found in an image, and the colours of the classes."""
    table = gpd.read_parquet(folder / "detections.parquet", columns=["geometry", "class_id", *SIDES])
    entries = json.loads((folder / "model.emd").read_text(encoding="utf-8"))["Classes"]
    colours = {entry["Value"]: entry["Color"] for entry in entries}
    return Found(image, table[SIDES].to_numpy(), table["class_id"].to_numpy(), colours)


def whole(found: Found) -> np.ndarray:
    """Return (3, h, w) uint8 of the image with the boxes found."""
    with rasterio.open(found.image) as dataset:
        pixels = dataset.read(out_shape=(3, SIDE_PX, SIDE_PX), resampling=Resampling.average)
        share = SIDE_PX / dataset.width
    for box, value in zip(found.boxes * share, found.ids, strict=True):
        outline(pixels, np.rint(box).astype(int), found.colours[value])
    return pixels


def detail(found: Found, wanted: list[int]) -> np.ndarray:
    """Return the place of the image with the most of some classes, enlarged, with the boxes found."""
    with rasterio.open(found.image) as dataset:
        col, row = busiest(found, wanted, dataset.shape)
        pixels = dataset.read(window=Window(col, row, DETAIL_PX, DETAIL_PX)).repeat(2, axis=1).repeat(2, axis=2)
    for box, value in zip(found.boxes - (col, row, col, row), found.ids, strict=True):
        around = np.rint(2 * box).astype(int)
        for grown, colour in ((2, EDGE), (1, found.colours[value]), (0, found.colours[value])):
            outline(pixels, around + np.array((-grown, -grown, grown, grown)), colour)
    return pixels


def busiest(found: Found, wanted: list[int], shape: tuple[int, int]) -> tuple[int, int]:
    """Return the corner (col, row) of the place where most of each class is, by the length of the objects."""
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    lengths = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1)
    corners = [(col, row) for row in range(0, shape[0] - DETAIL_PX, 32) for col in range(0, shape[1] - DETAIL_PX, 32)]

    def crowd(corner: tuple[int, int]) -> float:
        inside = ((centres >= corner) & (centres < np.add(corner, DETAIL_PX))).all(axis=1)
        return math.prod(lengths[inside & (found.ids == value)].sum() for value in wanted)

    return max(corners, key=crowd)


def outline(pixels: np.ndarray, box: np.ndarray, colour: Sequence[int]) -> None:
    """Draw a box as far as it lies in the picture."""
    x0, y0, x1, y1 = box
    if min(x1, y1) < 0 or max(x0, y0) >= SIDE_PX:
        return
    rows, cols = (slice(max(low, 0), high + 1) for low, high in ((y0, y1), (x0, x1)))
    for at in (y0, y1):
        if 0 <= at < SIDE_PX:
            pixels[:, at, cols] = np.array(colour, "uint8")[:, None]
    for at in (x0, x1):
        if 0 <= at < SIDE_PX:
            pixels[:, rows, at] = np.array(colour, "uint8")[:, None]


def together(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Return pictures side by side and one row under the other, with white between."""
    beside, below = np.full((3, SIDE_PX, GAP_PX), 255, "uint8"), []
    for row in rows:
        parts = [part for picture in row for part in (picture, beside)][:-1]
        line = np.concatenate(parts, axis=2)
        below += [line, np.full((3, GAP_PX, line.shape[2]), 255, "uint8")]
    return np.concatenate(below[:-1], axis=1)


def main(out: Path) -> None:
    cogs = sorted(out.glob("geodl-*/*/classification.tif"))
    folder = max(out.glob("geodl-harbour/*/detections.parquet"), key=lambda path: path.stat().st_mtime).parent
    found = read_found(out / "harbour" / "image.tif", folder)
    ships, *others = found.colours
    above = [true_colour(out / "scene"), *map(classes, cogs)]
    picture = together([above, [whole(found), detail(found, [ships]), detail(found, others)]])
    target = out / "demo.png"
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        rasterio.open(
            target, "w", driver="PNG", height=picture.shape[1], width=picture.shape[2], count=3, dtype="uint8"
        ) as dataset,
    ):
        dataset.write(picture)
    names = ", ".join(cog.parent.parent.name for cog in cogs)
    print(f"picture  {target}  (true colour, {names}; below {folder.parent.name}, whole and two places)")


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    main(Path(sys.argv[1]))

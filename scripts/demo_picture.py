"""Draw the demo's scene in true colour beside its classes: demo_picture.py OUT_FOLDER."""

import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

SIDE_PX = 915
GAP_PX = 10
BRIGHTEST = 0.25
"""Reflectance shown as white."""


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


def main(out: Path) -> None:
    cogs = sorted(out.glob("geodl-*/*/classification.tif"))
    pictures = [true_colour(out / "scene"), *map(classes, cogs)]
    gap = np.full((3, SIDE_PX, GAP_PX), 255, "uint8")
    row = np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=2)
    target = out / "demo.png"
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        rasterio.open(
            target, "w", driver="PNG", height=row.shape[1], width=row.shape[2], count=3, dtype="uint8"
        ) as dataset,
    ):
        dataset.write(row)
    names = ", ".join(cog.parent.parent.name for cog in cogs)
    print(f"picture  {target}  (true colour, {names})")


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    main(Path(sys.argv[1]))

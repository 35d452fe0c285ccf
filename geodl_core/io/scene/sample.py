"""A look at a band's values, by its overviews."""

from typing import Any

import numpy.typing as npt
from rasterio.windows import Window as RasterioWindow

from geodl_core.domain.plan.plan import BandSource
from geodl_core.domain.window import Window
from geodl_core.io.scene.raster import decoding, opened, validity

SAMPLE_SIDE_PX = 512
"""Of what is looked at."""
SAMPLED_SIDE_PX = 4096
"""Of the coarsest overview at most, where that look has to decode it."""


def sample_values(source: BandSource) -> npt.NDArray[Any]:
    """Return (N,) valid stored values of a band by its overviews, of the scene's middle where they are too large."""
    with opened(source.href, source.asset) as dataset:
        factor = max(dataset.overviews(source.index + 1), default=1)
        height, width = (min(side, SAMPLED_SIDE_PX * factor) for side in dataset.shape)
        top, left = (dataset.height - height) // 2, (dataset.width - width) // 2
        step = max(1, -(-max(height, width) // SAMPLE_SIDE_PX))
        place = {
            "window": RasterioWindow(left, top, width, height),
            "out_shape": (-(-height // step), -(-width // step)),
        }
        with decoding(source.asset, Window(top, left, top + height, left + width)):
            values: npt.NDArray[Any] = dataset.read(source.index + 1, **place)
            return values[validity(dataset, source, values, **place)]

"""Products: how class ids and scores are stored."""

import numpy as np

from geodl_core.domain.classes import ClassEntry, Storage
from geodl_core.domain.pixels.product import SCORE_STEPS, SCORE_TYPES, class_product, score_product

CLASSES = tuple(ClassEntry(value, str(value), (0, 0, 0)) for value in (1, 2, 7))


def test_the_class_map() -> None:
    """Class ids have one band in their storage type, and overviews of the most frequent id."""
    product = class_product(Storage("uint16", 65535))
    assert (product.name, product.dtype, product.samples, product.nodata) == ("classification", "uint16", 1, 65535)
    assert (product.halve, product.scale) == ("mode", 1)


def test_scores() -> None:
    """Scores have a band a class, overviews of the mean, and nodata that no score can have."""
    for dtype in SCORE_TYPES:
        product = score_product(CLASSES, dtype)
        assert (product.name, product.dtype, product.samples) == ("probabilities", dtype, 3)
        assert product.halve == "mean"
        assert np.isnan(product.nodata) if dtype == "float32" else product.nodata > SCORE_STEPS
        assert np.array([product.nodata]).astype(dtype)[0] == product.nodata or np.isnan(product.nodata)


def test_scores_as_bytes_reach_from_0_to_1() -> None:
    """The stored values of 0 and 1, times the scale, are 0 and 1 again."""
    product = score_product(CLASSES, "uint8")
    assert 0 * product.scale == 0
    assert SCORE_STEPS * product.scale == 1
    assert score_product(CLASSES, "float32").scale == 1

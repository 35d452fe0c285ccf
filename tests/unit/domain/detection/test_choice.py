"""Choices of a detector's run: what may be chosen, and lengths of objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.detection.choice import FORMATS, GEOMETRIES, MEASURES, PLAIN, DetectionChoice, object_px
from geodl_core.errors import InputError


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"seam_measure": "giou"}, "seam_measure: expected one of iou, ios, found giou"),
        ({"geometry": "line"}, "geometry: expected one of polygon, point, found line"),
        ({"formats": ("parquet", "kml")}, "format: expected one of parquet, gpkg, geojson, fgb, found kml"),
        ({"nms_overlap": -0.1}, "nms_overlap: expected 0 to 1, found -0.1"),
        ({"nms_overlap": float("nan")}, "nms_overlap: expected 0 to 1, found nan"),
        ({"max_overlap_ratio": 1.1}, "max_overlap_ratio: expected 0 to 1, found 1.1"),
        ({"tta_scales": ()}, "tta_scales"),
        ({"tta_scales": (1.0, 0.0)}, "tta_scales: expected numbers above 0, 8 at most"),
        ({"tta_scales": (9.0,)}, "tta_scales"),
        ({"tta_scales": (float("nan"),)}, "tta_scales"),
        ({"simplify_px": -1.0}, "simplify: expected 0 to 1000 pixels, found -1"),
        ({"simplify_px": float("inf")}, "simplify"),
        ({"max_object": "0"}, "max_object: expected a length such as 64"),
        ({"max_object": "3 feet"}, "max_object"),
        ({"max_object": "-5m"}, "max_object"),
        ({"max_object": ""}, "max_object"),
        ({"max_object": "1e3"}, "max_object"),
    ],
)
def test_what_cannot_be_chosen(keys, words):
    """Values outside their domain are refused by name, with what was expected and found."""
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        DetectionChoice(**keys)


def test_what_can_be_chosen():
    """All that is listed may be chosen, and bounds belong to their domain."""
    for measure in MEASURES:
        for geometry in GEOMETRIES:
            DetectionChoice(seam_measure=measure, geometry=geometry, formats=FORMATS)
    for share in (0.0, 1.0):
        DetectionChoice(nms_overlap=share, max_overlap_ratio=share)
    assert DetectionChoice() == PLAIN
    assert hash(PLAIN) == hash(DetectionChoice())


@pytest.mark.parametrize(
    ("text", "cell", "wanted"),
    [
        ("64", 0.5, 64),
        ("64px", None, 64),
        (" 64 px ", 2.0, 64),
        ("30m", 0.5, 60),
        ("7.5m", 2.5, 3),
        ("12.25", 1.0, 12.25),
    ],
)
def test_lengths_of_objects(text, cell, wanted):
    """A length is in pixels unless it says metres, which the ground's pixels divide."""
    assert object_px(text, cell) == wanted


@given(st.floats(0.001, 1e6), st.floats(0.01, 1000))
def test_metres_are_pixels_times_their_size(length, cell):
    """Metres and pixels mean the same length."""
    assert object_px(f"{length:.6f}m", cell) == pytest.approx(float(f"{length:.6f}") / cell)


def test_metres_without_a_place():
    """Metres on a grid that has no place on Earth are refused."""
    with pytest.raises(InputError, match="expected pixels, as the grid has no place on Earth"):
        object_px("30m", None)

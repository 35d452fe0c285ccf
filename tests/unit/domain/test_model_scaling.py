"""Scaling: what a definition says of the values that the network wants, against plain numpy."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.emd.definition import Emd, read_emd
from geodl_core.domain.model.scaling import IMAGENET, Scaling, scaling_of
from geodl_core.domain.scene.item import Band, Scene
from geodl_core.domain.scene.radiometry import choose_radiometry
from geodl_core.errors import ModelError

STORED = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype("uint8")
STATS = {
    "band_min_values": [1, 2, 3],
    "band_max_values": [101, 202, 203],
    "scaled_mean_values": [0.4, 0.5, 0.6],
    "scaled_std_values": [0.1, 0.2, 0.3],
}
MEAN_STD = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}


def emd_of(**keys: object) -> Emd:
    return read_emd(json.dumps(keys), "m.emd").emd


def scaling(count: int = 3, **keys: object) -> Scaling:
    return scaling_of(emd_of(**keys), count, [])


def fed(**keys: object) -> np.ndarray:
    """What the network gets of three bands of bytes without a scale."""
    bands = [
        Band(name, 0, (name,), "a.tif", "image/tiff", (), None, None, None, None, None, None, None) for name in "abc"
    ]
    scene = Scene("scene", None, tuple(bands), {})
    radiometry = choose_radiometry(scene, [(band, "uint8") for band in bands], scaling(**keys), None, None).radiometry
    return STORED * column(radiometry.scale) + column(radiometry.offset)


def column(values: object) -> np.ndarray:
    return np.reshape(np.asarray(values, float), (-1, 1, 1))


def test_nothing_said() -> None:
    """Without a word on values the network gets them as stored."""
    assert scaling() == Scaling()
    np.testing.assert_array_equal(fed(), STORED)


def test_data_range() -> None:
    """`DataRange` maps the source's range to its own."""
    np.testing.assert_allclose(fed(DataRange=[-1, 1]), STORED / 255 * 2 - 1, atol=1e-12)


def test_normalization_stats() -> None:
    """Statistics of each band scale by minimum and maximum, then standardise; `DataRange` plays no part."""
    low, high, mean, std = map(column, STATS.values())
    expected = ((STORED - low) / (high - low) - mean) / std
    np.testing.assert_allclose(fed(NormalizationStats=STATS, DataRange=[0, 9]), expected, atol=1e-12)


def test_mean_and_std_of_the_parameters() -> None:
    """`mean` and `std` of `ModelParameters` standardise what `DataRange` gives, or the values as stored."""
    mean, std = map(column, MEAN_STD.values())
    np.testing.assert_allclose(fed(ModelParameters=MEAN_STD), (STORED - mean) / std, atol=1e-9)
    expected = (STORED / 255 - mean) / std
    np.testing.assert_allclose(fed(ModelParameters=MEAN_STD, DataRange=[0, 1]), expected, atol=1e-12)


@pytest.mark.parametrize("parameters", [{"mean": [1, 1, 1]}, {"std": [1, 1, 1]}, {"backbone": "resnet34"}, {}])
def test_half_of_the_parameters(parameters: dict[str, object]) -> None:
    """`mean` without `std`, or the reverse, says nothing."""
    assert scaling(ModelParameters=parameters, DataRange=[0, 1]) == Scaling((0, 1))


def test_imagenet() -> None:
    """Three-band networks of ArcGIS get ImageNet's statistics of values in 0–1, and the run report says so."""
    expected = (STORED / 255 - column(IMAGENET[0])) / column(IMAGENET[1])
    np.testing.assert_allclose(fed(Framework="arcgis.learn.models._inferencing"), expected, atol=1e-12)
    notes: list[str] = []
    scaling_of(emd_of(Framework="arcgis.learn"), 3, notes)
    assert any("ImageNet" in note for note in notes)


@pytest.mark.parametrize(
    ("count", "keys"),
    [
        (3, {"Framework": "arcgis.learn", "IsMultispectral": True}),
        (4, {"Framework": "arcgis.learn"}),
        (3, {"Framework": "PyTorch"}),
        (3, {}),
    ],
)
def test_imagenet_is_for_no_others(count: int, keys: dict[str, object]) -> None:
    """Multispectral networks, other numbers of bands and other frameworks do not get ImageNet's statistics."""
    notes: list[str] = []
    assert scaling_of(emd_of(**keys, DataRange=[0, 1]), count, notes) == Scaling((0, 1))
    assert notes == []


def test_order_of_the_sources() -> None:
    """Statistics of the bands come before `ModelParameters`, these before ImageNet, this before `DataRange`."""
    keys = {"NormalizationStats": STATS, "ModelParameters": MEAN_STD, "Framework": "arcgis.learn", "DataRange": [0, 2]}
    assert scaling(**keys).minimum == (1, 2, 3)
    del keys["NormalizationStats"]
    assert scaling(**keys) == Scaling((0, 2), (0, 0, 0), (1, 1, 1), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    del keys["ModelParameters"]
    assert scaling(**keys).mean == IMAGENET[0]
    del keys["Framework"]
    assert scaling(**keys) == Scaling((0, 2))


lengths = st.integers(0, 5)


@given(st.integers(1, 4), st.tuples(lengths, lengths, lengths, lengths))
def test_lists_of_another_length(count: int, sizes: tuple[int, ...]) -> None:
    """Lists that are not all as long as there are bands are a ModelError that tells all lengths."""
    stats = {key: [values[0]] * size for (key, values), size in zip(STATS.items(), sizes, strict=True)}
    if set(sizes) == {count}:
        assert len(scaling(count, NormalizationStats=stats).mean) == count
        return
    with pytest.raises(ModelError) as caught:
        scaling(count, NormalizationStats=stats)
    assert (
        f"NormalizationStats: expected {count} values a list, one a band, found {list(sizes)}" in caught.value.message
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"NormalizationStats": {**STATS, "band_max_values": [101, 2, 203]}}, "minimum < maximum"),
        ({"NormalizationStats": {**STATS, "scaled_std_values": [1, 0, 1]}}, "deviations above 0, found 0"),
        ({"NormalizationStats": {**STATS, "scaled_std_values": [1, 1, -2]}}, "deviations above 0, found -2"),
        ({"ModelParameters": {**MEAN_STD, "std": [1, 0, 1]}}, "ModelParameters: .*above 0"),
        ({"ModelParameters": {**MEAN_STD, "mean": [1]}}, r"ModelParameters: expected 3 values .*found \[1, 3\]"),
        ({"ModelParameters": {**MEAN_STD, "mean": ["x", 1, 1]}}, "ModelParameters"),
        ({"NormalizationStats": {**STATS, "band_min_values": None}}, "NormalizationStats"),
    ],
)
def test_values_that_cannot_be(keys: dict[str, object], said: str) -> None:
    """Statistics that divide by zero, or are no numbers, are a ModelError that names the key."""
    with pytest.raises(ModelError, match=said):
        scaling(**keys)

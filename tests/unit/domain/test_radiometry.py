"""Radiometry: each rule, and its arithmetic against plain numpy."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.model.model import Scaling
from geodl_core.domain.scene.item import Band, Scene
from geodl_core.domain.scene.radiometry import Kind, Radiometry, RadiometryChoice, choose_radiometry
from geodl_core.errors import ItemError

Pair = tuple[float | None, float | None]
RANGE = Scaling(data_range=(0, 1))


def band_of(pair: Pair = (None, None), value_range: tuple[float, float] | None = None, asset: str = "a") -> Band:
    return Band(asset, 0, ("a",), "a.tif", "image/tiff", (), *pair, None, value_range, None, None, None)


def choose(
    bands: list[Band],
    scaling: Scaling,
    asked: Kind | None = None,
    asked_range: tuple[float, float] | None = None,
    **more: object,
) -> Radiometry:
    properties: Mapping[str, object] = more.get("properties", {})  # type: ignore[assignment]
    scene = Scene("scene", None, tuple(bands), properties)
    typed = [(band, str(more.get("dtype", "uint16"))) for band in bands]
    return choose_radiometry(scene, typed, scaling, asked, asked_range).radiometry


def apply(radiometry: Radiometry, stored: np.ndarray) -> np.ndarray:
    shape = (-1, 1, 1)
    if radiometry.floor:
        stored = np.maximum(stored, np.reshape(radiometry.floor, shape))
    return stored * np.reshape(radiometry.scale, shape) + np.reshape(radiometry.offset, shape)


def test_nothing_wanted() -> None:
    """A model that says nothing gets values as stored, even where the Item has a scale."""
    radiometry = choose([band_of((1e-4, -0.1))] * 2, Scaling())
    assert radiometry == Radiometry("raw", (1.0, 1.0), (0.0, 0.0), None)


def test_data_range_of_reflectance() -> None:
    """Where the Item has a scale, 0–1 of reflectance is what a `DataRange` is mapped from."""
    radiometry = choose([band_of((1e-4, -0.1)), band_of((2e-4, None))], Scaling(data_range=(-1, 1)))
    stored = np.array([[[1000.0, 11000.0]], [[0.0, 5000.0]]])
    np.testing.assert_allclose(apply(radiometry, stored), [[[-1, 1]], [[-1, 1]]], atol=1e-12)
    assert (radiometry.kind, radiometry.source_range) == ("reflectance", (0, 1))


def test_offset_alone_is_an_unscaling() -> None:
    """An Item that gives an offset alone has the scale 1."""
    assert choose([band_of((None, -1000))], Scaling(), "reflectance") == Radiometry("reflectance", (1,), (-1000,), None)


def test_scale_of_some_bands_alone() -> None:
    """Where a band lacks a scale, raw is the choice and reflectance an ItemError that names the band."""
    bands = [band_of((1e-4, 0), (0, 9)), band_of((None, None), (0, 10), asset="bare")]
    assert choose(bands, RANGE).kind == "raw"
    with pytest.raises(ItemError, match="lacks for bare"):
        choose(bands, RANGE, "reflectance")


SENTINEL = {"platform": "sentinel-2b", "s2:processing_baseline": "05.11"}


def sentinel(
    asked: Kind | None,
    pair: Pair = (1e-4, -0.1),
    asset: str = "red",
    dtype: str = "uint16",
    **properties: object,
) -> RadiometryChoice:
    scene = Scene("scene", "sentinel-2-l2a", (), {**SENTINEL, **properties})
    band = replace(band_of(pair, asset=asset), names=(asset,))
    return choose_radiometry(scene, [(band, dtype)], Scaling(), asked, None)


def test_boa_offset_applied() -> None:
    """Where Earth Search has applied the offset already, it is not applied twice, and the rule says so."""
    flag = "earthsearch:boa_offset_applied"
    applied = sentinel("reflectance", **{flag: True})
    assert applied.radiometry.offset == (0,)
    assert applied.rule.startswith("scale 0.0001, no offset is subtracted (earthsearch:boa_offset_applied is true")
    assert sentinel("reflectance", **{flag: False}).radiometry.offset == (-0.1,)
    assert not applied.unscaling[0].takes_offset


def test_harmonised() -> None:
    """Harmonised values are those of before baseline 04.00: 1000 less, and what would fall below 0 is 0."""
    choice = sentinel("dn_harmonised")
    assert choice.radiometry == Radiometry("dn_harmonised", (1,), (-1000,), None, (1000,))
    np.testing.assert_array_equal(apply(choice.radiometry, np.array([[[1.0, 999, 1000, 1001]]])), [[[0, 0, 0, 1]]])
    assert choice.rule == (
        "no scale, Sentinel-2's offset of 1000 is subtracted, what is lower becomes 0 "
        "(baseline 05.11 is 04.00 or later)"
    )


@pytest.mark.parametrize("properties", [{"earthsearch:boa_offset_applied": True}, {"s2:processing_baseline": "03.01"}])
def test_harmonised_where_no_offset_is_held(properties: dict[str, object]) -> None:
    """Harmonised values that hold no offset are those stored."""
    assert sentinel("dn_harmonised", **properties).radiometry == Radiometry("dn_harmonised", (1,), (0,), None)


def test_harmonised_of_some_bands() -> None:
    """Harmonising leaves bands alone that hold no reflectance: classes, water vapour."""
    scene = Scene("scene", None, (), SENTINEL)
    typed = [
        (replace(band_of(asset=name), names=(name,)), dtype) for name, dtype in (("b04", "uint16"), ("scl", "uint8"))
    ]
    choice = choose_radiometry(scene, typed, Scaling(), "dn_harmonised", None)
    assert (choice.radiometry.offset, choice.radiometry.floor) == ((-1000, 0), (1000, -math.inf))
    assert choice.rule.startswith("b04: no scale, ")
    assert choice.rule.endswith("scl: values as stored: not of Sentinel-2's bands")


@pytest.mark.parametrize(
    ("asset", "dtype", "properties"),
    [
        ("red", "uint16", {"platform": "landsat-8", "s2:processing_baseline": None}),
        ("red", "float32", {}),
        ("visual", "uint8", {}),
    ],
)
def test_harmonised_of_what_is_not_sentinel_2s(asset: str, dtype: str, properties: dict[str, object]) -> None:
    """Harmonising other values than Sentinel-2's is an ItemError."""
    scene = Scene("scene", None, (), {key: value for key, value in {**SENTINEL, **properties}.items() if value})
    with pytest.raises(ItemError, match="dn_harmonised is for Sentinel-2"):
        choose_radiometry(scene, [(band_of(asset=asset), dtype)], Scaling(), "dn_harmonised", None)


def test_planetary_computer() -> None:
    """Without any scale in the Item the baseline gives Sentinel-2's scale and offset."""
    radiometry = sentinel("reflectance", (None, None)).radiometry
    assert (radiometry.scale, radiometry.offset) == ((1e-4,), (-0.1,))
    old = sentinel("reflectance", (None, None), **{"s2:processing_baseline": "02.12"}).radiometry
    assert (old.scale, old.offset) == ((1e-4,), (0,))


def test_default_by_statistics() -> None:
    """Statistics of reflectance make it the default for whole numbers with a scale, others leave values as stored."""
    bands, reflectances = [band_of((1e-4, 0))], Scaling(None, (0,), (1,), (0.2,), (0.1,))
    assert choose(bands, reflectances).kind == "reflectance"
    assert choose(bands, reflectances, dtype="float32").kind == "raw"
    assert choose([band_of()], reflectances).kind == "raw"
    assert choose(bands, Scaling(None, (0,), (10000,), (0.2,), (0.1,))).kind == "raw"


def test_default_by_range() -> None:
    """A source range of thousands is one of stored values, so that Sentinel-2's stay as they are."""
    scene = Scene("scene", None, (), SENTINEL)
    bands = [(replace(band_of((1e-4, -0.1), asset="red"), names=("red",)), "uint16")]
    assert choose_radiometry(scene, bands, RANGE, None, (0, 10000)).radiometry.kind == "raw"
    assert choose_radiometry(scene, bands, RANGE, None, (0, 0.5)).radiometry.kind == "reflectance"
    assert choose_radiometry(scene, bands, RANGE, "dn_harmonised", None).radiometry.source_range == (0, 10000)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_types(dtype: str) -> None:
    """Landsat's scale and offset apply to any type; NaN, which is never valid, stays NaN."""
    radiometry = choose([band_of((2.75e-5, -0.2))], Scaling(), "reflectance", dtype=dtype)
    stored = np.array([[[1, 100, np.nan]]]) if dtype == "float32" else np.array([[[1, 100, 127]]], dtype)
    np.testing.assert_allclose(apply(radiometry, stored), stored.astype(float) * 2.75e-5 - 0.2)


def test_range_of_bytes() -> None:
    """Raw bytes have the range 0–255."""
    radiometry = choose([band_of()], RANGE, dtype="uint8")
    assert radiometry.source_range == (0, 255)
    np.testing.assert_allclose(apply(radiometry, np.array([[[0.0, 255.0]]])), [[[0, 1]]])


def test_range_from_statistics() -> None:
    """Other raw values have the range of all bands' statistics together."""
    radiometry = choose([band_of(value_range=(5, 50)), band_of(value_range=(10, 105))], RANGE)
    assert radiometry.source_range == (5, 105)
    np.testing.assert_allclose(radiometry.scale, [0.01, 0.01])


@pytest.mark.parametrize("ranges", [[None, None], [(0, 1), None], [(3, 3), (3, 3)]])
def test_range_that_nothing_says(ranges: list[tuple[float, float] | None]) -> None:
    """Without scale, statistics or bytes the range must be given, and the hint says how."""
    with pytest.raises(ItemError, match="uint16") as caught:
        choose([band_of(value_range=pair) for pair in ranges], RANGE)
    assert caught.value.hint is not None
    assert "--source-range" in caught.value.hint


def test_range_of_the_user() -> None:
    """The user's range overrules all others, in units of the chosen kind."""
    bands = [band_of((1e-4, 0), (0, 9))]
    assert choose(bands, RANGE, "raw", (0, 10000)).source_range == (0, 10000)
    np.testing.assert_allclose(choose(bands, RANGE, "reflectance", (0, 0.5)).scale, [2e-4])
    for pair in ((1, 1), (2, 1)):
        with pytest.raises(ItemError, match="MIN below MAX"):
            choose(bands, RANGE, None, pair)


def test_range_of_the_user_that_is_none() -> None:
    """A range with NaN in it is an ItemError."""
    for pair in ((float("nan"), 1.0), (0.0, float("nan"))):
        with pytest.raises(ItemError):
            choose([band_of()], RANGE, "raw", pair)


numbers = st.floats(-100, 100)
spans = st.floats(0.1, 100)


@given(st.lists(st.tuples(numbers, spans, numbers, spans, st.floats(0.01, 10), numbers), min_size=1, max_size=4))
def test_statistics_against_numpy(columns: list[tuple[float, ...]]) -> None:
    """Unscaling, min-max scaling and standardisation are applied in this order, band by band."""
    low, span, mean, std, scale, offset = (np.array(column).reshape(-1, 1, 1) for column in zip(*columns, strict=True))
    scaling = Scaling(None, *(tuple(column.ravel()) for column in (low, low + span, mean, std)))
    bands = [band_of((column[4], column[5])) for column in columns]
    stored = np.linspace(-50, 50, 7).reshape(1, 1, 7) * np.ones((len(columns), 1, 1))
    raw = (((stored - low) / ((low + span) - low)) - mean) / std
    np.testing.assert_allclose(apply(choose(bands, scaling, "raw"), stored), raw, rtol=1e-6, atol=1e-6)
    physical = stored * scale + offset
    expected = (((physical - low) / ((low + span) - low)) - mean) / std
    np.testing.assert_allclose(
        apply(choose(bands, scaling, "reflectance"), stored), expected, rtol=1e-6, atol=1e-5 * np.abs(expected).max()
    )


@given(numbers, spans, numbers, spans)
def test_data_range_against_numpy(low: float, span: float, new_low: float, new_span: float) -> None:
    """The ends of the source range become the ends of the `DataRange`."""
    scaling = Scaling(data_range=(new_low, new_low + new_span))
    radiometry = choose([band_of()], scaling, None, (low, low + span))
    ends = apply(radiometry, np.array([[[low, low + span]]]))
    np.testing.assert_allclose(
        ends, [[[new_low, new_low + new_span]]], rtol=1e-6, atol=1e-6 * (1 + new_span / span) * 100
    )

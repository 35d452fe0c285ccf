"""What masks leave out: by value, by bits, by names of the Item or of the product."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geodl_core.domain.scene.masks import QA_PIXEL, SCL, BitField, LeftOut, is_masked, resolve_mask
from geodl_core.errors import ItemError


def resolve(words: list[int | str], asset: dict[str, Any] | None = None, key: str = "cloud", band: int = 0) -> LeftOut:
    return resolve_mask("scene", asset or {}, (key, band), words)


CLASSES = {"classification:classes": [{"value": 2, "name": "cloud"}, {"value": 7, "description": "Open Water"}]}
FIELDS = {
    "classification:bitfields": [
        {
            "name": "cloud",
            "offset": 3,
            "length": 1,
            "classes": [{"value": 0, "name": "clear"}, {"value": 1, "name": "cloud"}],
        },
        {"name": "shadow", "offset": 4, "length": 1},
        {"name": "no_water", "offset": 5, "length": 1, "classes": [{"value": 0, "name": "no_water"}]},
        {
            "name": "sureness",
            "offset": 8,
            "length": 2,
            "classes": [{"value": 1, "name": "low"}, {"value": 3, "name": "high"}],
        },
        {"name": "other", "offset": 10, "length": 2, "classes": [{"value": 3, "name": "high"}]},
        {"name": "broken", "offset": "x", "length": 1},
    ]
}


def test_values_and_bits() -> None:
    """A pixel is left out if it is one of the values, or a field of its bits has one of its values."""
    values = np.arange(65536, dtype="uint16")
    fields = (BitField(3, 1, (1,)), BitField(8, 2, (2, 3)))
    expected = (values == 5) | (values >> 3 & 1 == 1) | (values >> 9 & 1 == 1)
    np.testing.assert_array_equal(is_masked(values, (5,), fields), expected)
    np.testing.assert_array_equal(is_masked(values.astype("float32"), (5,), fields), expected)
    np.testing.assert_array_equal(is_masked(values, (5,)), values == 5)


def test_nan_is_never_left_out() -> None:
    """What a warped mask does not reach is not left out, even where a field of zeros is."""
    values = np.array([np.nan, np.inf, 0, 8], "float32")
    assert is_masked(values, (), (BitField(3, 1, (1,)),)).tolist() == [False, False, False, True]


def test_negative_numbers_have_their_bits() -> None:
    """Signed pixels count as their two's complement."""
    assert is_masked(np.array([-1, 1], "int16"), (), (BitField(15, 1, (1,)),)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("words", "asset", "expected"),
    [
        ([3, 8, 3], {}, LeftOut((3, 8))),
        (["cloud"], CLASSES, LeftOut((2,))),
        (["Open-Water", 9], CLASSES, LeftOut((7, 9))),
        (["cloud"], {"bands": [{}, CLASSES]}, None),
        (["cloud"], {"raster:bands": [CLASSES]}, LeftOut((2,))),
        (["cloud", "shadow"], FIELDS, LeftOut((), (BitField(3, 1, (1,)), BitField(4, 1, (1,))))),
        (["clear"], FIELDS, LeftOut((), (BitField(3, 1, (0,)),))),
        (["no_water"], FIELDS, LeftOut((), (BitField(5, 1, (0,)),))),
        (["sureness.high", "low"], FIELDS, LeftOut((), (BitField(8, 2, (1,)), BitField(8, 2, (3,))))),
        (["high"], FIELDS, None),
        (["sureness"], FIELDS, None),
        (["snow"], FIELDS, None),
    ],
)
def test_names(words: list[int | str], asset: dict[str, Any], expected: LeftOut | None) -> None:
    """Names are those of the asset's or band's classes and bits; unknown and ambiguous ones are refused."""
    if expected is None:
        with pytest.raises(ItemError, match=words[0] if isinstance(words[0], str) else None):
            resolve(words, asset)
    else:
        assert resolve(words, asset) == expected


def test_band_of_the_asset() -> None:
    """Classes are those of the band that is read."""
    assert resolve(["cloud"], {"bands": [{}, CLASSES]}, band=1) == LeftOut((2,))


def test_errors_name_what_there_is() -> None:
    """The message of an unknown name lists the known ones; of an ambiguous one what it may be."""
    with pytest.raises(ItemError, match=r"snow is unknown: there are cloud, open_water"):
        resolve(["snow"], CLASSES)
    with pytest.raises(ItemError, match=r"high is ambiguous: it may be sureness\.high, other\.high"):
        resolve(["high"], FIELDS)


def test_known_products() -> None:
    """Landsat's bits and Sentinel-2's classes need no extension, whatever the case of the asset's key."""
    assert resolve(["cloud", "cloud_shadow"], key="qa_pixel").bits == (BitField(3, 1, (1,)), BitField(4, 1, (1,)))
    assert resolve(["cloud_confidence.high"], key="QA_PIXEL").bits == (BitField(8, 2, (3,)),)
    assert resolve(["fill", "water"], key="qa_pixel").bits == (BitField(0, 1, (1,)), BitField(7, 1, (1,)))
    assert resolve(["cloud_high_probability", "no_data", 3], key="SCL").values == (0, 3, 9)
    assert [SCL.index(name) for name in ("cloud_shadows", "cloud_medium_probability", "thin_cirrus", "snow")] == [
        3,
        8,
        10,
        11,
    ]
    with pytest.raises(ItemError, match="unknown"):
        resolve(["cloud"], key="other")


def test_the_item_stands_above_the_product() -> None:
    """What an Item says of a name holds, and the product's other names are known still."""
    mine = {"classification:classes": [{"value": 42, "name": "water"}]}
    assert resolve(["water", "snow"], mine, key="scl").values == (11, 42)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["earthsearch-v1_landsat-c2-l2_LC08_033032_20231008", "planetary-computer_landsat-c2-l2"]
)
def test_built_in_table_agrees_with_catalogs(name: str, shared: Path) -> None:
    """The built-in bits of Landsat are those that the catalogs' Items describe."""
    document = json.loads((shared / "fixtures" / "stac" / f"{name}.json").read_text())
    asset = document.get("features", [document])[0]["assets"]["qa_pixel"]
    for word, _, length in QA_PIXEL:
        names = [word] if length == 1 else [f"{word}.{level}" for level in ("not_set", "low", "high")]
        assert resolve(names, asset, key="other") == resolve(names, {}, key="qa_pixel")

"""Decoding: scores and class indices become stored values as numpy says, nodata where nothing is valid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.classes import ClassEntry, Storage, choose_storage, lookup_table
from geodl_core.domain.pixels.decode import Decoding, decide, to_ids, to_stored_scores
from geodl_core.domain.pixels.product import SCORE_STEPS, score_product
from geodl_core.errors import ModelError

IDS = (1, 2, 7)
CLASSES = tuple(ClassEntry(value, str(value), (0, 0, 0)) for value in IDS)


def decoding_of(
    output: str = "scores",
    ids: tuple[int, ...] = IDS,
    left_out: int | None = None,
    threshold: float = 0.5,
    order: tuple[int, ...] | None = None,
) -> Decoding:
    storage = choose_storage(ids)
    order = tuple(range(len(ids))) if order is None else order
    return Decoding(output, storage, lookup_table(ids, storage), threshold, left_out, order)  # type: ignore[arg-type]


def scores_of(seed: int, count: int = 3, steps: int = 4) -> np.ndarray:
    """Scores with many ties."""
    return (np.random.default_rng(seed).integers(0, steps, (count, 5, 6)) / steps).astype(np.float32)


seeds = st.integers(0, 1 << 30)


@given(seeds)
def test_the_best_score(seed: int) -> None:
    """The class of a pixel is that of its best score, of equal ones the first."""
    scores = scores_of(seed)
    classes = decide(scores, decoding_of())
    for row, col in np.ndindex(classes.shape):
        pixel = scores[:, row, col].tolist()
        assert classes[row, col] == pixel.index(max(pixel))


@given(seeds, st.integers(0, 2))
def test_a_class_that_is_left_out(seed: int, left_out: int) -> None:
    """It is never chosen, others as without it, and the scores stay as they are."""
    scores = scores_of(seed)
    scores[left_out] += np.random.default_rng(seed).integers(0, 2, scores.shape[1:])
    before = scores.copy()
    classes = decide(scores, decoding_of(left_out=left_out))
    others = [index for index in range(3) if index != left_out]
    np.testing.assert_array_equal(classes, np.array(others)[scores[others].argmax(0)])
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 1.0])
def test_masks(threshold: float) -> None:
    """A mask is of its class above the threshold, not at it, as the network's own arithmetic has it."""
    at = np.float32(threshold)
    scores = np.array([[[np.nextafter(at, np.float32(-1)), at, np.nextafter(at, np.float32(2))]]], np.float32)
    assert decide(scores, decoding_of("mask", (0, 1), threshold=threshold)).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("ids", [IDS, (0, 255), (-3, 5, 9), (0, 300, 65535), (70000, 5, 2**31)])
def test_class_ids(ids: tuple[int, ...]) -> None:
    """Stored are class ids of the storage type where valid, nodata elsewhere."""
    decoding = decoding_of(ids=ids)
    rng = np.random.default_rng(0)
    classes, valid = rng.integers(0, len(ids), (5, 6)), rng.random((5, 6)) > 0.3
    stored = to_ids(classes, valid, decoding)
    assert stored.dtype == decoding.storage.dtype
    expected = np.where(valid, np.array(ids)[classes], decoding.storage.nodata)
    np.testing.assert_array_equal(stored, expected)


@pytest.mark.parametrize("ids", [IDS, (0, 255), (-3, 5, 9), (0, 300, 65535), (70000, 5, 2**31 - 1), (-70000, 2)])
def test_class_maps(ids: tuple[int, ...]) -> None:
    """A class map's values, which the graph gives as int32, are stored as they are."""
    decoding = decoding_of("class map", ids)
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array(ids, np.int32), (5, 6))
    valid = rng.random((5, 6)) > 0.3
    stored = to_ids(classes, valid, decoding)
    assert stored.dtype == decoding.storage.dtype
    np.testing.assert_array_equal(stored, np.where(valid, classes.astype(np.int64), decoding.storage.nodata))


def test_class_maps_of_strange_values() -> None:
    """A value that no class has is a ModelError that shows it, but does not matter where nothing is valid."""
    classes = np.array([[1, 2, 99]], np.int32)
    decoding = decoding_of("class map")
    assert to_ids(classes, np.array([[True, True, False]]), decoding).tolist() == [[1, 2, 255]]
    with pytest.raises(ModelError, match=r"wrote the values \[99\]"):
        to_ids(classes, np.ones((1, 3), np.bool_), decoding)


def test_class_indices_beyond_the_classes() -> None:
    """An index that no class has is a ModelError that shows it and the last."""
    with pytest.raises(ModelError, match="class index 3, but Classes ends at 2"):
        to_ids(np.array([[0, 3]]), np.ones((1, 2), np.bool_), decoding_of())


@given(seeds, st.permutations(range(3)), st.sampled_from(["uint8", "float32"]))
def test_stored_scores(seed: int, order: list[int], dtype: str) -> None:
    """Each band has its class's scores, within half a step, and nodata just where nothing is valid."""
    rng = np.random.default_rng(seed)
    scores, valid = rng.random((3, 5, 6)).astype(np.float32), rng.random((5, 6)) > 0.3
    before = scores.copy()
    product = score_product(CLASSES, dtype)  # type: ignore[arg-type]
    stored = to_stored_scores(scores, valid, decoding_of(order=tuple(order)), product)
    assert (stored.dtype, stored.shape) == (np.dtype(dtype), (3, 5, 6))
    is_nodata = np.isnan(stored) if dtype == "float32" else stored == product.nodata
    np.testing.assert_array_equal(is_nodata, np.broadcast_to(~valid, is_nodata.shape))
    tolerance = 0 if dtype == "float32" else product.scale / 2 + 1e-6
    meant = (stored * product.scale)[:, valid]
    np.testing.assert_allclose(meant, scores[order][:, valid], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(scores, before)


@given(seeds)
def test_scores_as_bytes_keep_their_order(seed: int) -> None:
    """Of two scores the larger is never stored as the smaller, and none outside 0–1 as nodata."""
    line = np.sort(np.random.default_rng(seed).normal(0.5, 1, 40).astype(np.float32))
    scores = np.stack([line[None]] * 3)
    stored = to_stored_scores(scores, np.ones((1, 40), np.bool_), decoding_of(), score_product(CLASSES, "uint8"))
    assert (np.diff(stored[0, 0].astype(int)) >= 0).all()
    assert stored.max() <= SCORE_STEPS


def test_a_mask_gets_a_band_for_its_other_class() -> None:
    """The scores of both classes of a mask add up to 1."""
    scores = np.random.default_rng(0).random((1, 4, 4)).astype(np.float32)
    decoding = decoding_of("mask", (0, 1))
    stored = to_stored_scores(scores, np.ones((4, 4), np.bool_), decoding, score_product(CLASSES[:2], "float32"))
    np.testing.assert_array_equal(stored, np.concatenate([1 - scores, scores]))


def test_too_few_scores() -> None:
    """Fewer scores than classes are a ModelError with both numbers."""
    with pytest.raises(ModelError, match="gives 2 scores a pixel, expected 3"):
        to_stored_scores(scores_of(0, 2), np.ones((5, 6), np.bool_), decoding_of(), score_product(CLASSES, "uint8"))


def test_nothing_valid() -> None:
    """Where nothing is valid all is nodata, for every product."""
    nowhere = np.zeros((5, 6), np.bool_)
    assert (to_ids(decide(scores_of(1), decoding_of()), nowhere, decoding_of()) == 255).all()
    assert (to_stored_scores(scores_of(1), nowhere, decoding_of(), score_product(CLASSES, "uint8")) == 255).all()
    assert Storage("uint8", 255) == decoding_of().storage

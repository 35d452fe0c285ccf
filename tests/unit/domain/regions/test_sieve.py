"""The sieve does what its rule says, whatever the strips."""

import numpy as np
import pytest
import rasterio.features
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geodl_core.domain.regions.label import Labeller
from geodl_core.domain.regions.runs import NODATA, find_runs, spread
from geodl_core.domain.regions.sieve import sieve

SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
CORNERS = (*SIDES, (-1, -1), (-1, 1), (1, -1), (1, 1))


def sieved(values, valid, least, connectivity=4, strip_rows=1000):
    """Return the map after the sieve and its regions' numbers, computed in strips."""
    labeller = Labeller(connectivity, least)
    strips = []
    for top in range(0, len(values), strip_rows):
        runs = find_runs(values[top : top + strip_rows], valid[top : top + strip_rows])
        strips.append((runs, labeller.feed(runs, np.ones(runs.shape[0], np.int64))))
    regions, of_label = labeller.result()
    after, became = sieve(regions, least)
    numbers = np.concatenate([spread(runs, became[of_label][labels]) for runs, labels in strips])
    return after.values[numbers], numbers, after


def slow_sieve(values, valid, least, connectivity):  # noqa: C901  # in one piece, to be read beside the rule
    """The rule of the module's docstring on pixels, as slow and plain as can be."""
    around = SIDES if connectivity == 4 else CORNERS
    height, width = values.shape
    group = -np.ones(values.shape, int)
    classes, sizes, firsts, fixed = [], [], [], []
    for first in np.ndindex(values.shape):
        if not valid[first] or group[first] >= 0:
            continue
        number, stack = len(classes), [first]
        group[first] = number
        while stack:
            row, col = stack.pop()
            for dr, dc in around:
                r, c = row + dr, col + dc
                is_free = 0 <= r < height and 0 <= c < width and valid[r, c] and group[r, c] < 0
                if is_free and values[r, c] == values[first]:
                    group[r, c] = number
                    stack.append((r, c))
        classes.append(values[first])
        firsts.append(first[0] * width + first[1])
        sizes.append(int((group == number).sum()))
        fixed.append(sizes[-1] >= least)
    dead = set()
    while True:
        small = [n for n in range(len(classes)) if n not in dead and not fixed[n]]
        small.sort(key=lambda n: (sizes[n], firsts[n]))
        for number in small:
            near = set()
            for row, col in np.argwhere(group == number):
                for dr, dc in around:
                    r, c = row + dr, col + dc
                    if 0 <= r < height and 0 <= c < width and group[r, c] not in (-1, number):
                        near.add(group[r, c])
            if near:
                break
        else:
            break
        target = max(near, key=lambda n: (sizes[n], -firsts[n]))
        classes[number] = classes[target]
        alike = [n for n in near if classes[n] == classes[target]]
        if fixed[target]:
            for n in (number, *alike):
                if not fixed[n]:
                    fixed[n], sizes[n], firsts[n] = True, sizes[target], firsts[target]
        else:
            for n in alike:
                group[group == n] = number
                dead.add(n)
                sizes[number] += sizes[n]
                firsts[number] = min(firsts[number], firsts[n])
            fixed[number] = sizes[number] >= least
    after = np.full(values.shape, NODATA)
    inside = group >= 0
    after[inside] = np.array(classes, int)[group[inside]]
    return after


maps = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(0, 0.4))


@settings(deadline=None, max_examples=300)
@given(drawn=maps, least=st.integers(2, 12), connectivity=st.sampled_from([4, 8]), strip_rows=st.integers(1, 9))
def test_the_rule_is_kept(drawn, least, connectivity, strip_rows):
    """On any small map, in any strips, the sieve gives what the plain reading of its rule gives."""
    height, width, classes, seed, empty = drawn
    rng = np.random.default_rng(seed)
    values = rng.integers(0, classes, (height, width))
    valid = rng.random((height, width)) >= empty
    expected = slow_sieve(values, valid, least, connectivity)
    np.testing.assert_array_equal(sieved(values, valid, least, connectivity, strip_rows)[0], expected)


def noisy(shape, seed, share=0.05, classes=5):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 4)
    values = np.digitize(smooth, np.quantile(smooth, np.linspace(0, 1, classes + 1)[1:-1]))
    is_noise = rng.random(shape) < share
    values[is_noise] = rng.integers(0, classes, is_noise.sum())
    return values.astype(np.uint8)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_numbers_are_those_of_connected_regions(connectivity):
    """Each number stands for one connected region of one class, in the order of first pixels, as scipy labels them."""
    values = noisy((120, 90), 3)
    valid = noisy((120, 90), 4) > 0
    after, numbers, regions = sieved(values, valid, 9, connectivity, 7)
    structure = np.ones((3, 3)) if connectivity == 8 else None
    labels, count = np.zeros(values.shape, int), 0
    for value in np.unique(after):
        found, more = ndimage.label(after == value, structure)
        labels[found > 0] = found[found > 0] + count
        count += more
    assert count == len(regions.values) == numbers.max() + 1
    assert len(np.unique(np.column_stack([labels.ravel(), numbers.ravel()]), axis=0)) == count
    firsts = np.unique(numbers, return_index=True)[1]
    np.testing.assert_array_equal(firsts, regions.firsts)
    assert (np.diff(firsts) > 0).all()
    np.testing.assert_array_equal(np.bincount(numbers.ravel()), regions.sizes)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_equals_gdal_where_rules_coincide(connectivity):
    """Where small regions touch large ones alone, of which one is the largest, the map is that of GDAL's sieve."""
    values = np.zeros((60, 80), np.uint8)
    values[:, 30:] = 1
    values[40:, 50:] = 2
    rng = np.random.default_rng(5)
    for row in range(2, 58, 4):
        for col in range(2, 78, 4):
            height, width = rng.integers(1, 3, 2)
            values[row : row + height, col : col + width] = rng.integers(0, 3)
    least = 5
    expected = rasterio.features.sieve(values, least, connectivity=connectivity)
    assert (expected != values).sum() > 200
    found, _, _ = sieved(values, np.ones(values.shape, bool), least, connectivity, 11)
    np.testing.assert_array_equal(found, expected)


def test_few_pixels_differ_from_gdal_on_noise():
    """On a noisy map, where rules differ in chains and at ties, under one pixel in a hundred differs from GDAL's."""
    values = noisy((300, 300), 6)
    expected = rasterio.features.sieve(values, 12, connectivity=4)
    found, _, _ = sieved(values, np.ones(values.shape, bool), 12)
    assert (expected != values).mean() > 0.04
    assert (found != expected).mean() < 0.01


def test_nothing_small_remains_beside_a_class():
    """After the sieve a region smaller than asked for has nodata alone around it."""
    values = noisy((150, 150), 7, share=0.3)
    valid = noisy((150, 150), 8, share=0) > 1
    valid[::10, ::10] = True
    after, numbers, _ = sieved(values, valid, 15)
    sizes = np.bincount(numbers.ravel())
    islands = 0
    for number in np.flatnonzero(sizes < 15):
        region = numbers == number
        if after[region][0] == NODATA:
            continue
        ring = ndimage.binary_dilation(region) & ~region
        assert (after[ring] == NODATA).all()
        islands += 1
    assert islands
    np.testing.assert_array_equal(after == NODATA, ~valid)

"""A look at a scene before the work: do its values hold the offset that is subtracted, does it suit the model?"""

from collections.abc import Sequence

from geodl_core.domain.grid import Grid
from geodl_core.domain.model.model import Model
from geodl_core.domain.plan.plan import BandSource
from geodl_core.domain.scene.fit import ValueFacts, misfits, rescaled, value_facts
from geodl_core.domain.scene.item import Band, Scene
from geodl_core.domain.scene.radiometry import RadiometryChoice
from geodl_core.domain.scene.sentinel2 import is_dark, offset_doubt
from geodl_core.io.scene.sample import sample_values


def judge_scene(
    scene: Scene, grid: Grid, model: Model, inputs: Sequence[tuple[Band, BandSource]], choice: RadiometryChoice
) -> tuple[str, ...]:
    """Return warnings; none decides anything.

    Overviews are read of those bands alone whose values matter here, each once.

    Args:
        scene: the Item.
        grid: whose cells the model sees.
        model: what is to run.
        inputs: each channel's band, and where its pixels are.
        choice: what happens to its values.
    """
    doubtful = _dark_channels([band for band, _ in inputs], choice)
    ranged = {channel for channel, limits in enumerate(model.training.ranges) if limits is not None}
    stored: dict[int, ValueFacts] = {}
    for channel in sorted(ranged | doubtful):
        facts = value_facts(sample_values(inputs[channel][1]))
        if facts is not None:
            stored[channel] = facts
    lows = {inputs[channel][0].asset: stored[channel].low for channel in sorted(doubtful & stored.keys())}
    doubt = offset_doubt(lows)
    unscaled = {
        channel: rescaled(facts, choice.unscaling[channel].scale, choice.unscaling[channel].offset)
        for channel, facts in stored.items()
    }
    found = misfits(scene, grid, unscaled, model.bands, model.training)
    return (doubt, *found) if doubt else found


def _dark_channels(bands: Sequence[Band], choice: RadiometryChoice) -> set[int]:
    """Return the channels that tell best whether the offset is there, of those from which it is subtracted."""
    subtracted = {channel for channel, each in enumerate(choice.unscaling) if each.takes_offset}
    return {channel for channel in subtracted if is_dark(bands[channel])} or subtracted

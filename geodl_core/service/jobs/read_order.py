"""What an order of the ledger means: the model of the registry, its arguments, and an Item from anywhere."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from geodl_core.domain.run.options import command_options, read_options
from geodl_core.service.jobs.allowed_item import allowed_item
from geodl_core.service.jobs.read_job import AskedJob, read_itemless_job
from geodl_core.service.ledger.runs import Run


def read_order(run: Run, item: Mapping[str, Any], places: tuple[Path, str], local_roots: tuple[Path, ...]) -> AskedJob:
    """Return the job that a run computes.

    Args:
        run: as the ledger has it.
        item: its source Item.
        places: folder of results; path or URL of the catalog, for the model.
        local_roots: folders whose files the Item may name.

    Raises:
        InputError: options that the model does not take.
        ItemError: no Item that can be read, or a raster that lies neither in these folders nor at a public URL.
        ModelError: the model is not there any more, or does not serve.
    """
    options = command_options(read_options(dict(run.options), f"run {run.id[:8]}"))
    asked = read_itemless_job(run.model, options, places)
    return replace(asked, item=allowed_item(item, local_roots))

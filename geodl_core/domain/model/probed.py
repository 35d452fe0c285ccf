"""What a network told when it was run once: kept beside a registered model, so that loading it runs nothing."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.network.graph import Graph
from geodl_core.domain.network.reach import Reach
from geodl_core.errors import ModelError

FORMAT: Literal["geodl-probe-1"] = "geodl-probe-1"
MOST_BYTES = 1 << 20
"""Of the file: more than any decoder needs."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a network told when it was run; None of what it was not run for."""

    decoder: Decoder | None = None
    """Of a detector: how its answer is read."""
    reach: Reach | None = None
    """As the network's answers show it, the graph apart."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Of what a network was run, by SHA-256: another definition or network may tell otherwise."""

    definition: str
    network: str
    """External data included."""
    preprocessing: str | None


class _Document(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)

    format: Literal["geodl-probe-1"] = FORMAT
    model: Identity
    decoder: Decoder | None = None
    reach: Reach | None = None


def identity_of(emd_text: bytes, graph: Graph, preprocessing: Graph | None) -> Identity:
    """Return what a network's answers are those of.

    Args:
        emd_text: the definition, verbatim.
        graph: of the network.
        preprocessing: the graph before it, where there is one.
    """
    before = None if preprocessing is None else preprocessing.digest
    return Identity(hashlib.sha256(emd_text).hexdigest(), graph.digest, before)


def probed_bytes(probed: Probed, model: Identity) -> bytes:
    """Return what `parse_probed` reads."""
    document = _Document(model=model, decoder=probed.decoder, reach=probed.reach)
    return (document.model_dump_json(indent=1) + "\n").encode()


def parse_probed(content: bytes, model: Identity, graph: Graph, shown: str) -> Probed | None:
    """Read what a network told.

    Args:
        content: of the file, from anywhere.
        model: what it should be of.
        graph: of the network, whose outputs a decoder names.
        shown: what to call it in errors.

    Returns:
        What it told; None where the file is of another version of the format, which is no reason not to run the
        network once more.

    Raises:
        ModelError: it is none, or that of another model.
    """
    try:
        said = json.loads(content) if len(content) <= MOST_BYTES else None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{shown}: expected what a network told ({FORMAT}), found a file that is no JSON") from error
    if _is_other_version(said):
        return None
    try:
        document = _Document.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise ModelError(f"{shown}: expected what a network told ({FORMAT}); {place}: {first['msg']}") from error
    if document.model != model:
        raise ModelError(f"{shown}: it was told by another model", hint="remove the model and add it again")
    if document.decoder is not None:
        _require_outputs(document.decoder, graph, shown)
    return Probed(document.decoder, document.reach)


def _is_other_version(said: Any) -> bool:
    version = said.get("format") if isinstance(said, dict) else None
    return isinstance(version, str) and version.startswith("geodl-probe-") and version != FORMAT


def _require_outputs(decoder: Decoder, graph: Graph, shown: str) -> None:
    names = {tensor.name for tensor in graph.outputs}
    if not decoder.tensors or not names.issuperset(decoder.tensors):
        found = ", ".join(decoder.tensors) or "none"
        raise ModelError(f"{shown}: expected outputs of the network, {', '.join(sorted(names))}; found {found}")

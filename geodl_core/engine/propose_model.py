"""Propose a definition for a network: by its graph, by one answer where it finds objects, by what its user says."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.recognise import choose_decoder
from geodl_core.domain.emd.definition import Emd, read_emd
from geodl_core.domain.emd.propose import Proposal, guess_layout, propose_emd
from geodl_core.domain.emd.propose_objects import labels_seen, propose_detector, propose_object_classifier
from geodl_core.domain.model.agreement import PIXELS, SCENE, fitting_type, require_all
from geodl_core.domain.model.detector import image_input, make_detector
from geodl_core.domain.model.model import make_model
from geodl_core.domain.model.object_classifier import make_object_classifier
from geodl_core.domain.model.tensors import bands_of, chip_of, image_tensors, layout_of
from geodl_core.domain.network.outputs import describe_outputs
from geodl_core.engine.probe_detector import answer_once
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import GraphFile
from geodl_core.io.network.reach import answer_step, walk_reach
from geodl_core.io.package.package import ModelPackage


def propose_model(file: GraphFile, model_file: str, said: Mapping[str, Any]) -> Proposal:
    """Propose a definition that runs, or, where a detector's answer is open, one that says what is missing.

    Args:
        file: the network.
        model_file: its file's name, for `ModelFile`.
        said: keys of the EMD that the user gave, `ModelType` among them where the graph does not tell it.

    Raises:
        ModelError: nothing tells what the network does; or what was said does not fit it.
    """
    kind = said.get("ModelType") or fitting_type(file.graph)
    if kind == PIXELS:
        return _pixels(file, model_file, said)
    if kind == SCENE:
        proposal = propose_object_classifier(file.graph, model_file, said)
        make_object_classifier(_definition(proposal), file.graph, model_file)
        return proposal
    return _detector(file, model_file, said)


def _pixels(file: GraphFile, model_file: str, said: Mapping[str, Any]) -> Proposal:
    if "ModelConfiguration" in said:
        raise ModelError("ModelConfiguration: a network that classifies pixels has none", "--type says what it does")
    source, result = image_tensors(file.graph)
    layout = said.get("ModelFormat") or guess_layout(source)
    reach = walk_reach(file.proto, source.name, layout)
    if reach is not None:
        reach = replace(reach, coarsening=answer_step(file.proto, source.name, result.name, layout))
    proposal = propose_emd(file.graph, model_file, reach, said)
    make_model(_definition(proposal), file.graph, model_file, reach)
    return proposal


def _detector(file: GraphFile, model_file: str, said: Mapping[str, Any]) -> Proposal:
    graph = file.graph
    first = propose_detector(graph, model_file, said)
    emd = _definition(first)
    _require_fitting(emd, file)
    answer = answer_once(ModelPackage(emd, b"", file, model_file, model_file))
    try:
        decoder = choose_decoder(emd, graph, answer)
    except ModelError as error:
        if "ModelConfiguration" in said or describe_outputs(graph).kind != "detections":
            raise
        hint = f" ({error.hint}; here with --config KEY=VALUE, --architecture)" if error.hint else ""
        return replace(first, open_questions=(*first.open_questions, f"answer: {error.message}{hint}"))
    labels = labels_seen(decoder, answer, (emd.ImageHeight or 1, emd.ImageWidth or 1))
    proposal = propose_detector(graph, model_file, said, decoder, labels)
    made = make_detector(_definition(proposal), graph, model_file, answer)
    if made.detector is None or _meaning(made.detector.decoder) != _meaning(decoder):
        # What was found is found again at each start, and stands.
        kept = {"ModelConfiguration": said["ModelConfiguration"]} if "ModelConfiguration" in said else {}
        rest = {key: value for key, value in proposal.document.items() if key != "ModelConfiguration"}
        return replace(proposal, document={**rest, **kept})
    return proposal


def _require_fitting(emd: Emd, file: GraphFile) -> None:
    """Make sure that what was said of bands and size fits, all of it at once."""
    source = image_input(file.graph)
    layout = layout_of(emd, source)
    require_all(
        (
            lambda: bands_of(emd, source.shape[layout.index("C")], source),
            lambda: chip_of(emd, source, layout, []),
        )
    )


def _meaning(decoder: Decoder) -> Decoder:
    """Return a decoder without what is said of it in words, or only repeats what was said of it."""
    settings = {key: value for key, value in decoder.settings.items() if key != "coordinates"}
    return replace(decoder, why="", settings=settings)


def _definition(proposal: Proposal) -> Emd:
    return read_emd(json.dumps(proposal.document), "the proposed definition").emd

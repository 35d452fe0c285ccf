"""Inference sessions: stored pixel values in, class indices or scores out."""

import os
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, Protocol

import numpy.typing as npt

from geodl_core.errors import InferenceError, InputError, ModelError, OutOfMemoryError
from geodl_core.io.network.graph import ANSWER, PIXELS

Provider = Literal["auto", "cpu", "cuda"]
PROVIDERS: tuple[Provider, ...] = ("auto", "cpu", "cuda")
ORT_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
ERRORS_ONLY = 3


class Session(Protocol):
    """Runs a fused graph. Several threads may call `infer` at once."""

    def infer(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Take (N, C, H, W) stored values, return (N, h, w) class indices or (N, C, h, w) scores, as fused.

        Raises:
            InferenceError: the run failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class OnnxSession:
    """An onnxruntime session on a fused graph."""

    runtime: Any
    provider: str
    """The onnxruntime provider that runs it."""
    failures: tuple[type[Exception], ...]

    def infer(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """As `Session.infer`."""
        try:
            (answer,) = self.runtime.run([ANSWER], {PIXELS: pixels})
        except MemoryError as error:
            raise OutOfMemoryError(f"out of memory with a batch of {len(pixels)} tiles {pixels.shape[1:]}") from error
        except self.failures as error:
            reason = str(error).splitlines()[0]
            raise InferenceError(f"the network failed on an input {pixels.shape} {pixels.dtype}: {reason}") from error
        result: npt.NDArray[Any] = answer
        return result


def open_session(fused: bytes, provider: Provider = "auto") -> OnnxSession:
    """Open a session on a fused graph.

    One intra-op thread a call: on CPU a caller thread per core on one session gives the best throughput.

    Args:
        fused: the serialised graph.
        provider: `auto` takes CUDA where onnxruntime offers it, else the CPU.

    Raises:
        ModelError: onnxruntime refuses the graph.
        InputError: no onnxruntime, both of its packages at once, or a provider that is not there.
    """
    runtime = import_runtime()
    available = runtime.get_available_providers()
    chosen = ("cuda" if ORT_NAMES["cuda"] in available else "cpu") if provider == "auto" else provider
    if ORT_NAMES[chosen] not in available:
        raise InputError(
            f"provider {chosen}: onnxruntime offers only {', '.join(available)}",
            hint="for CUDA install geodl[gpu] instead of geodl[cpu]",
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = ERRORS_ONLY
    options.use_deterministic_compute = True
    failures = _failures(runtime)
    try:
        names = list(dict.fromkeys([ORT_NAMES[chosen], ORT_NAMES["cpu"]]))
        session = runtime.InferenceSession(fused, options, providers=names)
    except failures as error:
        raise ModelError(f"onnxruntime refuses the model: {str(error).splitlines()[0]}") from error
    return OnnxSession(session, session.get_providers()[0], failures)


def import_runtime() -> Any:
    """Import onnxruntime, making sure that it is whole.

    Raises:
        InputError: it is missing, or its CPU and GPU packages overwrite one another.
    """
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(both) > 1:
        raise InputError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite one another",
            hint="uninstall both, then install geodl[cpu] or geodl[gpu]",
        )
    try:
        import onnxruntime  # noqa: PLC0415  # 0.2 s and 60 MB, for inference alone
    except ImportError as error:
        raise InputError("onnxruntime is not installed", hint="pip install 'geodl[cpu]' (or 'geodl[gpu]')") from error
    # Some builds report usage; nobody who runs geodl asked for that.
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _failures(runtime: Any) -> tuple[type[Exception], ...]:
    state = runtime.capi.onnxruntime_pybind11_state
    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
        "EPFail",
    )
    return (RuntimeError, ValueError, *(getattr(state, name) for name in names if hasattr(state, name)))


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True

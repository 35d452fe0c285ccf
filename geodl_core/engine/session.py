"""Inference sessions: stored pixel values in, class indices or scores out."""

import hashlib
import io
import os
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geodl_core.engine.buffers import Buffers, Crop, Device, is_out_of_memory
from geodl_core.engine.providers import (
    DEVICES,
    FATAL_ONLY,
    INSTALL_HINTS,
    ORT_NAMES,
    PROVIDERS,
    Provider,
    SessionChoice,
    failures_of,
    import_runtime,
    with_options,
)
from geodl_core.errors import InferenceError, InputError, ModelError, OutOfMemoryError
from geodl_core.io.network.fuse import PIXELS
from geodl_core.io.network.half import is_half

__all__ = [
    "PROVIDERS",
    "OnnxSession",
    "Provider",
    "Session",
    "SessionChoice",
    "fitting_batch",
    "import_runtime",
    "open_session",
    "usable_cores",
]


class Session(Protocol):
    """Runs a fused graph. Several threads may call `infer` at once."""

    def infer(self, pixels: npt.NDArray[Any], crop: Crop | None = None) -> npt.NDArray[Any]:
        """Take (N, C, H, W) stored values, return (N, h, w) class indices or (N, C, h, w) scores, as fused.

        Args:
            pixels: of the type that the graph was fused for.
            crop: top, left, bottom, right of the part to answer, for graphs fused to crop: h = bottom - top,
                w = right - left. None is all of it; other graphs take no notice.

        Raises:
            OutOfMemoryError: a smaller batch may run.
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
    device: Device
    note: str | None = None
    """One line on why it runs on the CPU where a GPU was expected."""
    lock: AbstractContextManager[Any] = field(default_factory=nullcontext)
    """Around a run; CUDA graphs may not be captured while another thread launches kernels."""
    lanes: threading.local = field(default_factory=threading.local)
    """The buffers of each thread."""

    def infer(self, pixels: npt.NDArray[Any], crop: Crop | None = None) -> npt.NDArray[Any]:
        """As `Session.infer`."""
        buffers = getattr(self.lanes, "buffers", None)
        if buffers is None:
            buffers = self.lanes.buffers = Buffers(self.runtime, self.device)
        with self._failing(pixels, buffers), self.lock:
            return buffers.run(pixels, crop)

    def infer_all(self, pixels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
        """Take (N, C, H, W) stored values, return every output of the graph, in its order.

        Raises:
            OutOfMemoryError: a smaller batch may run.
            InferenceError: the run failed.
        """
        with self._failing(pixels), self.lock:
            return tuple(self.runtime.run(None, {PIXELS: np.ascontiguousarray(pixels)}))

    @contextmanager
    def _failing(self, pixels: npt.NDArray[Any], buffers: Buffers | None = None) -> Iterator[None]:
        """Say what failed in our own errors; buffers are given back where memory was short."""
        try:
            yield
        except MemoryError as error:
            _clear(buffers)
            raise _out_of_memory(pixels) from error
        except self.failures as error:
            if is_out_of_memory(error):
                _clear(buffers)
                raise _out_of_memory(pixels) from error
            raise InferenceError(
                f"the network failed on an input {pixels.shape} {pixels.dtype}: {_reason(error)}"
            ) from error


def open_session(fused: bytes, choice: SessionChoice | Provider = "auto") -> OnnxSession:
    """Open a session on a fused graph.

    Args:
        fused: the serialised graph.
        choice: how to run it, or the provider alone. With `auto` a GPU that is installed and does not start leaves
            the session on the CPU, with a `note` that says so.

    Raises:
        ModelError: onnxruntime refuses the graph.
        InputError: no onnxruntime, several of its packages at once, an unknown provider, or one that was asked for
            by name and is not there or does not start.
    """
    choice = _checked(choice)
    runtime = import_runtime()
    available = runtime.get_available_providers()
    wanted = choice.provider
    if wanted == "auto":
        wanted = "cuda" if ORT_NAMES["cuda"] in available else "cpu"
    if ORT_NAMES[wanted] not in available:
        raise InputError(
            f"provider {wanted}: onnxruntime offers only {', '.join(available)}", hint=INSTALL_HINTS.get(wanted)
        )
    failures = failures_of(runtime)
    reason = "its libraries do not load"
    try:
        session = _start(runtime, fused, wanted, choice)
    except failures as error:
        reason = _reason(error)
        try:
            # What the CPU refuses too is the graph's fault.
            session = _start(runtime, fused, "cpu", choice)
        except failures as refusal:
            raise ModelError(f"onnxruntime refuses the model: {_reason(refusal)}") from error
    # Without its libraries onnxruntime leaves a provider out, and says nothing but in its log.
    used = session.get_providers()[0]
    if used == ORT_NAMES[wanted]:
        device = Device(runtime, DEVICES.get(wanted, "cpu"), choice.is_shape_fixed and wanted == "cuda")
        lock = threading.Lock() if device.is_shape_fixed else nullcontext()
        return OnnxSession(session, used, failures, device, lock=lock)
    note = f"{ORT_NAMES[wanted]} is installed but does not start ({reason})"
    if choice.provider != "auto":
        raise InputError(f"provider {wanted}: {note}", hint="run with --provider cpu, or repair the installation")
    return OnnxSession(session, used, failures, Device(runtime, "cpu"), f"running on the CPU: {note}")


def fitting_batch(session: Session, chip: tuple[int, int, int], dtype: str, most: int, crop: Crop | None = None) -> int:
    """Return the largest power of two of tiles, `most` at the utmost, that a session can run at once.

    Tries zeros, halving from above. Assumes one caller at a time and a shape that is the largest: several threads
    together may still run out of memory, for which batches are halved as they run.

    Args:
        session: what runs the batches.
        chip: (C, H, W) of a tile.
        dtype: NumPy's name of the type of the stored values.
        most: at least 1.
        crop: as in `Session.infer`.

    Raises:
        OutOfMemoryError: not even one tile fits.
        InferenceError: the run failed otherwise.
    """
    batch = 1 << (most.bit_length() - 1)
    while True:
        try:
            session.infer(np.zeros((batch, *chip), dtype), crop)
        except (OutOfMemoryError, MemoryError):
            if batch == 1:
                raise
            batch //= 2
        else:
            return batch


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(choice: SessionChoice | str) -> SessionChoice:
    if isinstance(choice, SessionChoice):
        return choice
    if choice not in PROVIDERS:
        raise InputError(f"provider {choice}: expected one of {', '.join(PROVIDERS)}")
    return SessionChoice(next(provider for provider in PROVIDERS if provider == choice))


def _start(runtime: Any, fused: bytes, provider: Provider, choice: SessionChoice) -> Any:
    """Return onnxruntime's session; on the CPU alone where the provider was left out."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = choice.intra_threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = FATAL_ONLY
    options.use_deterministic_compute = True
    # A pattern lays all tensors of a shape into one block: a quarter more memory with two callers, and no faster.
    options.enable_mem_pattern = provider in DEVICES
    is_keyed = choice.cache is not None and provider in ("tensorrt", "openvino")
    cache = choice.cache / hashlib.sha256(fused).hexdigest()[:16] if choice.cache and is_keyed else None
    providers = with_options(provider, choice, cache, provider == "tensorrt" and is_half(fused))
    if provider in DEVICES and hasattr(runtime, "preload_dlls"):
        # CUDA and cuDNN from pip's nvidia-* packages are not found otherwise; it prints what it does not find.
        with redirect_stdout(io.StringIO()):
            runtime.preload_dlls()
    # Its own falling back prints to stdout, and retries what failed for another reason.
    return runtime.InferenceSession(fused, options, providers=providers, enable_fallback=0)


def _clear(buffers: Buffers | None) -> None:
    if buffers is not None:
        buffers.clear()


def _out_of_memory(pixels: npt.NDArray[Any]) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"out of memory with a batch of {len(pixels)} tiles {pixels.shape[1:]}",
        hint="fewer tiles at once or smaller tiles take less memory",
    )


def _reason(error: BaseException) -> str:
    """Return an error's first line, without the place in onnxruntime's source."""
    first = str(error).strip().split("\n", maxsplit=1)[0]
    return re.sub(r"^/\S+:\d+ .*?\)\s+(?=\S)", "", first) or type(error).__name__

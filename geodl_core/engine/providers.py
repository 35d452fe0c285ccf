"""What runs a network: onnxruntime, its providers, the options that each is given, and why."""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from geodl_core.errors import InputError

Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
PROVIDERS: tuple[Provider, ...] = ("auto", "cpu", "cuda", "tensorrt", "openvino")
ORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""Provider → onnxruntime's name of it."""
DEVICES = {"cuda": "cuda", "tensorrt": "cuda"}
"""Provider → where its buffers lie; all others compute in host memory."""
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
"""All hold the same module."""
FATAL_ONLY = 4
"""Errors are raised anyway, and again on stderr would be noise."""
INSTALL_HINTS = {
    "cuda": "for CUDA install onnxruntime-gpu instead of onnxruntime",
    "tensorrt": "install onnxruntime-gpu instead of onnxruntime, and TensorRT itself",
    "openvino": "install onnxruntime-openvino instead of onnxruntime",
}


@dataclass(frozen=True, slots=True)
class SessionChoice:
    """How a session is to be run."""

    provider: Provider = "auto"
    """`auto` is CUDA where onnxruntime has it and it starts, else the CPU. TensorRT and OpenVINO are asked for by name:
    the one builds its engine for minutes and by timing, the other is another arithmetic."""
    intra_threads: int = 1
    """Threads within a call. On CPU one, and a caller thread per core on one session, gives the best throughput."""
    cache: Path | None = None
    """Folder in which TensorRT and OpenVINO keep what they compiled; None compiles anew each time."""
    gpu_memory_bytes: int | None = None
    """Most that onnxruntime's arena may take on the GPU; None is all that is free."""
    is_shape_fixed: bool = False
    """Replay CUDA graphs: for callers whose batches all have one shape. The first shape seen is captured, others run
    as without it. CUDA only."""

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise ValueError(f"provider {self.provider!r}: expected one of {', '.join(PROVIDERS)}")
        if self.intra_threads < 1:
            raise ValueError(f"intra_threads {self.intra_threads}: expected at least 1")


def import_runtime() -> Any:
    """Import onnxruntime, making sure that it is whole and quiet.

    Raises:
        InputError: it is missing, or several of its packages overwrite one another.
    """
    found = [name for name in PACKAGES if _is_installed(name)]
    if len(found) > 1:
        raise InputError(
            f"{' and '.join(found)} are both installed and overwrite one another",
            hint="uninstall them, then install one",
        )
    try:
        import onnxruntime  # noqa: PLC0415  # 0.2 s and 60 MB, for inference alone
    except ImportError as error:
        raise InputError("onnxruntime is not installed", hint="pip install onnxruntime (or onnxruntime-gpu)") from error
    # Some builds report usage; nobody who runs geodl asked for that.
    onnxruntime.disable_telemetry_events()
    # Providers that do not load are logged before there is a session.
    onnxruntime.set_default_logger_severity(FATAL_ONLY)
    return onnxruntime


def failures_of(runtime: Any) -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises; its classes have no common base of their own."""
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


def with_options(
    provider: Provider, choice: SessionChoice, cache: Path | None = None, is_half: bool = False
) -> list[tuple[str, dict[str, str]]]:
    """Return onnxruntime's `providers` for one of ours: itself and those that take the nodes which it does not.

    Args:
        provider: not `auto`.
        choice: what its options follow from.
        cache: a folder for this graph alone: TensorRT names an engine by the graph's node and tensor names, not by its
            weights (TRTGenerateId in onnxruntime), so models of one architecture would take one another's.
        is_half: whether the graph computes in 16 bits.
    """
    options = {
        "tensorrt": _tensorrt_options(cache, is_half),
        "cuda": _cuda_options(choice),
        "openvino": _openvino_options(choice, cache),
        "cpu": {},
    }
    chain = {"tensorrt": ("tensorrt", "cuda", "cpu"), "cpu": ("cpu",)}.get(provider, (provider, "cpu"))
    return [(ORT_NAMES[name], options[name]) for name in chain]


def _cuda_options(choice: SessionChoice) -> dict[str, str]:
    """Return options of https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html."""
    options = {
        # Doubling the arena would take memory that a batch of the other threads needs (onnxruntime #16307).
        "arena_extend_strategy": "kSameAsRequested",
        # EXHAUSTIVE, the default, takes the kernel that was fastest when timed: other bits in another run.
        "cudnn_conv_algo_search": "HEURISTIC",
        # TF32 has 10 bits of mantissa: scores would differ by more than the 1e-4 that is promised for fp32.
        "use_tf32": "0",
        # Off, copies race with kernels (onnxruntime #4829).
        "do_copy_in_default_stream": "1",
    }
    if choice.gpu_memory_bytes is not None:
        options["gpu_mem_limit"] = str(choice.gpu_memory_bytes)
    if choice.is_shape_fixed:
        # One launch instead of hundreds; needs IOBinding with addresses that stay (onnxruntime #9978).
        options["enable_cuda_graph"] = "1"
    return options


def _tensorrt_options(cache: Path | None, is_half: bool) -> dict[str, str]:
    """Return options of https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html."""
    # Follows the graph, which was checked against 32 bits before; TensorRT shall not choose on its own.
    options = {"trt_fp16_enable": "1" if is_half else "0"}
    if cache is not None:
        options |= {
            # Building an engine takes minutes.
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(cache),
            # Timings kept choose the same kernels when an engine is built again.
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(cache),
        }
    return options


def _openvino_options(choice: SessionChoice, cache: Path | None) -> dict[str, str]:
    """Return options of https://onnxruntime.ai/docs/execution-providers/OpenVINO-ExecutionProvider.html."""
    options = {
        "device_type": "CPU",
        # Left alone, CPUs with AMX compute in bfloat16.
        "precision": "FP32",
        # Its default is 8, whatever the machine has.
        "num_of_threads": str(choice.intra_threads),
    }
    return options if cache is None else {**options, "cache_dir": str(cache)}


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True

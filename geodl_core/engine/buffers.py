"""Memory around a session: input buffers kept on its device, and what an allocation that failed looks like."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.io.network.fuse import ANSWER, CORE, PIXELS

KEPT_SHAPES = 2
"""Buffers a thread keeps: a scene's whole tiles, and those of the edge it is at."""
OUT_OF_MEMORY = (
    "failed to allocate memory",  # arena: "Failed to allocate memory for requested buffer of size …"
    "smaller than requested bytes",  # arena under gpu_mem_limit: "Available memory of … is smaller than requested …"
    "bad_alloc",  # host: std::bad_alloc
    "bad allocation",  # the same on Windows
    "out of memory",  # "CUDA failure 2: out of memory", TensorRT
    "outofmemory",  # TensorRT: "Error Code 2: OutOfMemory"
    "memoryallocation",  # cudaErrorMemoryAllocation
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED
    "allocation_failed",  # CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
)
"""What onnxruntime and the libraries below it write, in lower case."""
Crop = tuple[int, int, int, int]
"""top, left, bottom, right of what is wanted of the answer, in its pixels, end-exclusive."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where the buffers of a session lie."""

    runtime: Any
    """The module onnxruntime."""
    name: str
    """`cpu` or `cuda`, as onnxruntime calls it."""
    is_shape_fixed: bool = False
    """Whether the session replays CUDA graphs."""


@dataclass(slots=True)
class Bound:
    """A buffer on the device, and the binding that feeds a session from it."""

    value: Any
    binding: Any


class Buffers:
    """The buffers through which *one thread* feeds a session.

    Stored values cross the bus as they are, class indices come back; what is between stays on the device. A shape's
    buffer is made once and written again by later calls. Without CUDA graphs the answer's buffer is bound anew by each
    call, so that the array given to the caller is never written again.
    """

    def __init__(self, session: Any, device: Device) -> None:
        self._session = session
        self._device = device
        self._takes_crop = any(entry.name == CORE for entry in session.get_inputs())
        self._kept: OrderedDict[tuple[Any, ...], Bound] = OrderedDict()
        self._captured: tuple[Any, ...] | None = None
        self._graph = 0

    def run(self, pixels: npt.NDArray[Any], crop: Crop | None) -> npt.NDArray[Any]:
        """Run the session on (N, C, H, W) stored values; the whole of it where a graph that crops gets no crop.

        Raises:
            Exception: as onnxruntime does; `is_out_of_memory` tells one kind from the others.
        """
        crop = (crop or (0, 0, *pixels.shape[-2:])) if self._takes_crop else None
        # A captured graph has its crop and the address of its answer within.
        key = (pixels.shape, pixels.dtype, crop if self._device.is_shape_fixed else None)
        bound = self._bound(key)
        # Neither order nor type is checked below: other than contiguous arrays came out scrambled in 1.24.
        bound.value.update_inplace(np.ascontiguousarray(pixels))
        if self._device.is_shape_fixed:
            return self._replay(bound, key)
        self._bind(bound, crop)
        self._session.run_with_iobinding(bound.binding)
        answer: npt.NDArray[Any] = bound.binding.get_outputs()[0].numpy()
        bound.binding.clear_binding_outputs()
        return answer

    def clear(self) -> None:
        """Give all buffers back, whose memory smaller batches may need."""
        self._kept.clear()
        # What was captured has addresses that are no more.
        self._captured = None
        self._graph += 1

    def _bound(self, key: tuple[Any, ...]) -> Bound:
        """Return the buffer of a shape and type, the least recently used one given up for it."""
        shape, dtype, _ = key
        if key not in self._kept:
            make = self._device.runtime.OrtValue.ortvalue_from_shape_and_type
            value = make(shape, dtype.type, self._device.name, 0)
            binding = self._session.io_binding()
            binding.bind_ortvalue_input(PIXELS, value)
            self._kept[key] = Bound(value, binding)
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT_SHAPES:
            del self._kept[next(old for old in self._kept if old != self._captured)]
        return self._kept[key]

    def _bind(self, bound: Bound, crop: Crop | None) -> None:
        if crop is not None:
            # In host memory on every device: Slice reads its bounds there.
            bound.binding.bind_cpu_input(CORE, np.asarray(crop, np.int64))
        bound.binding.bind_output(ANSWER, self._device.name, 0)

    def _replay(self, bound: Bound, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Run with the CUDA graph of the first call's shape and crop; others without a graph."""
        options = self._device.runtime.RunOptions()
        is_first = self._captured is None
        self._captured = self._captured or key
        options.add_run_config_entry("gpu_graph_id", str(self._graph) if key == self._captured else "-1")
        if is_first or key != self._captured:
            self._bind(bound, key[-1])
        self._session.run_with_iobinding(bound.binding, options)
        return np.array(bound.binding.get_outputs()[0].numpy())


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether onnxruntime failed for want of memory.

    By its text: a failed allocation comes as RUNTIME_EXCEPTION, FAIL or EP_FAIL like any other failure, and its
    maintainers know no other way (onnxruntime #16307).
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in OUT_OF_MEMORY)

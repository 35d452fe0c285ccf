"""Arrow arrays straight from memory: `pyarrow.array` and `pyarrow.scalar` load pandas, half a second of processor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers(values: npt.NDArray[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Return numbers without nulls, in the memory they lie in where that is contiguous.

    Args:
        values: (N,) of a type that Arrow has.
        kind: how Arrow is to read them, where that is not what NumPy calls them; of the same width.
    """
    whole = np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind or pa.from_numpy_dtype(whole.dtype), len(whole), [None, pa.py_buffer(whole)])


def blobs(values: Sequence[bytes], kind: pa.DataType | None = None) -> pa.Array:
    """Return byte strings, or where `kind` is `pyarrow.string()` texts in UTF-8, of 2 GiB together at most."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind or pa.binary(), len(values), buffers)


def records(values: npt.NDArray[np.void]) -> pa.Array:
    """Return (N,) records as byte strings of one length, in the memory they lie in."""
    ends = np.arange(len(values) + 1, dtype=np.int32) * values.dtype.itemsize
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(values)])


def coded(codes: npt.NDArray[np.int32], words: Sequence[str]) -> pa.Array:
    """Return texts by number.

    Args:
        codes: (N,) indices of words.
        words: all different.
    """
    texts = blobs([word.encode() for word in words], pa.string())
    return pa.DictionaryArray.from_arrays(numbers(codes), texts)

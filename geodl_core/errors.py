"""Every error that geodl raises on purpose.

GeodlError                   the base: what was named, expected and found; an exit code and a hint
  InputError            2    permanent: the same input fails again, so it is never retried
    ItemError                no such asset or band, not a raster, no CRS, empty footprint
    ModelError               the EMD lacks a key, EMD and ONNX disagree, an unsafe package
    PlanError                a halo that leaves no core, a shard outside the plan
    QueryError               a search that cannot be understood
    AbsentError              what is named is not there
  DataError             3    permanent: a block cannot be decoded, a part is truncated
  InferenceError        4    the session failed
    OutOfMemoryError         retried with half the batch
  RefusedError         77    permanent until somebody gives leave: a store refuses us, whatever the input is
  UnavailableError     75    transient: worth another try, with back-off
    StoreError               a file or object cannot be read or written now
    CatalogError             the catalog does not answer or refuses
"""

from typing import ClassVar


class GeodlError(Exception):
    """Base of all errors meant for people: one plain line, and a hint where there is one.

    Args:
        message: one line that names the thing, what was expected and what was found.
        hint: what to do about it, or None.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(GeodlError):
    """Permanent: the same input fails again."""

    exit_code = 2


class ItemError(InputError):
    """The STAC Item or one of its assets does not serve."""


class ModelError(InputError):
    """The model definition, its graph or its package does not serve."""


class PlanError(InputError):
    """The job cannot be laid out as asked."""


class QueryError(InputError):
    """A catalog search that cannot be understood."""


class AbsentError(InputError):
    """What is named is not there."""


class DataError(GeodlError):
    """Permanent: bytes that should be pixels are not."""

    exit_code = 3


class InferenceError(GeodlError):
    """The inference session failed."""

    exit_code = 4


class OutOfMemoryError(InferenceError):
    """The inference session ran out of memory; half the batch may fit."""


class RefusedError(GeodlError):
    """A place for plans, parts, models or results may not be used: credentials or a role are at fault, not the input.

    Sources are no such places: an asset that may not be read does not serve (ItemError, StoreError).
    """

    exit_code = 77


class UnavailableError(GeodlError):
    """Transient: worth another try."""

    exit_code = 75


class StoreError(UnavailableError):
    """A file or object cannot be read or written now."""


class CatalogError(UnavailableError):
    """The catalog does not answer, or refuses."""

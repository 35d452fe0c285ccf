"""Progress of a run: a bar on a terminal, plain lines otherwise, nothing where machines read."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from geodl_core.cli.report import plan_lines
from geodl_core.engine.run_scene import Event

SECONDS_BETWEEN_LINES = 10


class RunProgress:
    """Shows the events of a run. A context manager, since a bar must be taken down.

    Args:
        is_quiet: show nothing.
    """

    def __init__(self, is_quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=is_quiet, soft_wrap=True, highlight=False, markup=False)
        columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("tiles"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console)
        self._task: TaskID | None = None
        self._done = self._total = 0
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._bar.stop()

    def listen(self, event: Event) -> None:
        """Show one event."""
        if event.stage == "planned" and event.plan is not None:
            for line in plan_lines(event.plan, event.tiles):
                self._console.print(line)
            self._total = event.tiles
            if self._console.is_terminal and not self._console.quiet:
                self._task = self._bar.add_task("inferring", total=event.tiles)
                self._bar.start()
        elif event.stage in ("tiles", "resumed"):
            self._advance(event)
        elif event.stage == "note":
            self._console.print(f"note     {event.text}")
        else:
            if self._task is not None:
                self._bar.stop()
            self._console.print(event.stage)

    def _advance(self, event: Event) -> None:
        self._done += event.tiles
        if event.stage == "resumed":
            self._console.print(f"found {event.tiles} tiles of an earlier run")
        if self._task is not None:
            self._bar.update(self._task, completed=self._done)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last_line = time.monotonic()
            self._console.print(f"inferred {self._done} of {self._total} tiles")

"""Logs of what keeps running: a JSON object a line on standard error."""

import json
import logging
from datetime import UTC, datetime

from geodl_core.domain.place.href import scrub


def log_to_stderr() -> None:
    """Write geodl's log to standard error, and warnings of its libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    for name, level in (("geodl", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


class _JsonLines(logging.Formatter):
    """A log record as one JSON object, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return scrub(json.dumps(line, ensure_ascii=False, default=str))

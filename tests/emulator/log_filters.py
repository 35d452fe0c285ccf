"""Filters of CloudWatch Logs with terms of which one is enough (`?"a" ?"b"`), which MiniStack takes for terms of which
each is needed.

Source: CloudWatch Logs' guide, "Filter pattern syntax": `?` before a term; beside terms without it such terms do not
count; patterns are case-sensitive.
"""

import re

from ministack.services import cloudwatch_logs

from emulator.options import Options

TERM = re.compile(r'(?P<sign>[?-]?)(?:"(?P<phrase>[^"]*)"|(?P<word>\S+))')


def install(options: Options) -> None:
    """Read such filters as AWS does; all others are MiniStack's."""
    compiled = cloudwatch_logs._compile_filter_pattern

    def compile_filter(raw):
        terms = [(one["sign"], one["phrase"] or one["word"]) for one in TERM.finditer(raw or "")]
        if terms and all(sign == "?" for sign, _ in terms):
            return lambda message: any(text in message for _, text in terms)
        return compiled(raw)

    cloudwatch_logs._compile_filter_pattern = compile_filter

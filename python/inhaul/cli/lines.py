"""The output of `--json`: one JSON object in each line."""

import json
import os
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING

from inhaul.cli.common import say

if TYPE_CHECKING:
    from inhaul.ingestion.report import IngestReport

_SURROGATE = re.compile("[\ud800-\udfff]")


def say_event(event: str, fields: Mapping[str, object]) -> None:
    """Prints an event as a line that every JSON parser accepts.

    What is not UTF-8 in a text becomes U+FFFD. So that the file of such a path can be found, `path_base64` has the
    bytes of the path.
    """
    line = {"event": event, **fields}
    path = fields.get("path")
    if isinstance(path, str) and _SURROGATE.search(path):
        line["path_base64"] = b64encode(os.fsencode(path)).decode()
    valid = {name: _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value for name, value in line.items()}
    say(json.dumps(valid).replace("\x7f", "\\u007f"))  # `say` would quote a line with a control character


def say_report(report: "IngestReport") -> None:
    """Prints the report of an ingest: what is listed in it, and then its totals."""
    for change in report.changes:
        say_event("change", {"status": change.status, "key": change.key})
    for gone in report.missing:
        say_event("missing", {"key": gone.key, "uid": gone.uid})
    for moved in report.moved:
        say_event("moved", moved._asdict())
    for why, count in report.not_pruned.items():
        say_event("not_pruned", {"files": count, "reason": why})
    for issue in report.failed:
        say_event("failed", {"path": str(issue.path), "reason": issue.reason, "error": str(issue.error)})
    seconds = round(report.seconds, 3)
    say_event("report", {"files": report.files, "bytes": report.bytes, **report.outcomes, "seconds": seconds})

"""The output of `--json`: one JSON object in each line."""

import json
import os
import re
from base64 import b64encode
from collections.abc import Mapping

from inhaul.cli.common import say

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

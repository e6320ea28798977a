"""Names of files and folders that are not watched."""

import re

from inhaul.keys import OBJECTS

# The last but two are temporary files of rsync, of the desktop GNOME, and of NFS, in which a removed file lives on.
_PASSING = re.compile(
    r".*\.(part|partial|tmp|temp|crdownload|filepart)|\..+\.[0-9A-Za-z]{6}|\.goutputstream-.*|\.nfs[0-9a-f]{16,}",
    re.DOTALL,
)


def is_watched(name: str) -> bool:
    """Returns False for names that programs use while they write, and for that of inhaul's own folder."""
    return name != OBJECTS and _PASSING.fullmatch(name) is None

"""Refuses content that declares more than its bytes can be worth, before a reader takes memory for it."""

ALLOWED = 200 << 20
"""Bytes in memory that are not asked about, however little is stored for them."""

_DENSEST = 1 << 15  # bytes that one stored byte can stand for: no compression in use packs more


def check(what: str, declared: int, stored: int) -> None:
    """Refuses something that would take more memory than its bytes can be worth.

    Args:
        what: Its name.
        declared: Bytes that it would take in memory.
        stored: Bytes that are stored for it.

    Raises:
        ValueError: They cannot be worth that.
    """
    if declared > max(ALLOWED, _DENSEST * stored):
        raise ValueError(f"{what} would take {declared:,} bytes of memory, but only {stored:,} are stored for it")


def check_text(what: str, declared: int, file: int) -> None:
    """Refuses a text that is longer than its file.

    Args:
        what: Its name.
        declared: Its length in bytes.
        file: That of the file.

    Raises:
        ValueError: It is.
    """
    if declared > file:
        raise ValueError(f"{what} would have a text of {declared:,} bytes, but the file has only {file:,}")

"""`inhaul hash`: digests as `md5sum` prints them."""

import json
import os
import sys
from typing import Annotated, Literal

import typer

from inhaul.cli.common import SOME_FAILED, app, escaped, run, tell
from inhaul.hashing import PART_SIZE, Algorithm, Digest, TreeAlgorithm
from inhaul.hashing.memo import open_memo_for
from inhaul.texts import check_path_text

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r"})


@app.command("hash")
def hash_paths(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files; for md5-tree and md5-d, folders.")],
    algorithm: Annotated[
        Literal["md5", "md5-whole", "sha256", "sha256-parts", "sha1-fl", "md5-tree", "md5-d"],
        typer.Option(help="`md5` hashes a file of one part and more in parts; `md5-whole` is what md5sum prints."),
    ] = "md5",
    etag: Annotated[bool, typer.Option("--etag", help="Print S3 ETags for parts of --part-size.")] = False,
    part_size: Annotated[
        int, typer.Option(min=1, max=2**63 - 1, help="Bytes in a part, doubled until there are at most 10,000 parts.")
    ] = PART_SIZE,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read all files, also those that have not changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, with hashes in base64.")] = False,
) -> None:
    """Print the hash of each path in hex, as md5sum does. A hash of parts ends in the number of parts, like an ETag."""
    if etag and algorithm != "md5":
        raise typer.BadParameter("an ETag always uses MD5: leave out --algorithm", param_hint="--etag")

    failed = False
    for path, result in zip(paths, run(_hash(paths, algorithm, part_size, rehash)), strict=True):
        if isinstance(result, Exception):
            tell(result)
            failed = True
        elif as_json:
            typer.echo(json.dumps({"path": path, **result._asdict()} | ({"etag": result.hex} if etag else {})))
        else:
            line = _line(result.hex, path)
            typer.echo(escaped(line) if sys.stdout.isatty() else os.fsencode(line))  # bytes as from md5sum
    if failed:
        raise typer.Exit(SOME_FAILED)


async def _hash(
    paths: list[str], algorithm: Algorithm | TreeAlgorithm, part_size: int, rehash: bool
) -> list[Digest | Exception]:
    import asyncio  # noqa: PLC0415 - `--help` needs no event loop

    from inhaul.hashing import aio  # noqa: PLC0415 - the same

    for path in paths:
        check_path_text(path)
    if algorithm != "md5-tree" and algorithm != "md5-d":
        known = await asyncio.to_thread(open_memo_for, paths, rehash=rehash)
        return [*await aio.hash_files(paths, algorithm, part_size=part_size, memo=known)]
    results: list[Digest | Exception] = []
    for path in paths:
        try:
            results.append(await aio.hash_dir(path, algorithm, rehash=rehash))
        except (OSError, ValueError) as error:
            results.append(error)
    return results


def _line(digest: str, path: str) -> str:
    """Returns the line as `md5sum` prints it: a leading backslash marks an escaped name."""
    name = path.translate(_ESCAPES)
    return f"{digest}  {name}" if name == path else f"\\{digest}  {name}"

"""Queries what `make run` has ingested, Python's standard library, and checks it with `find` and hashlib."""

import asyncio
import hashlib
import subprocess
import sys
import sysconfig
from base64 import urlsafe_b64encode
from pathlib import Path

import inhaul

FOLDER = Path(sysconfig.get_path("stdlib"))
PART = 8 << 20


def files() -> list[Path]:
    """Returns the files that `find` lists, except those in site-packages."""
    command = ["find", FOLDER, "-name", "site-packages", "-prune", "-o", "-type", "f", "-print0"]
    output = subprocess.check_output(command, text=True)  # noqa: S603
    return [Path(path) for path in output.split("\0")[:-1]]


def digest(path: Path) -> tuple[int, str]:
    """Returns size and hash by the published rule: the MD5; from 8 MiB on, the MD5 of the MD5s of parts of 8 MiB."""
    content = path.read_bytes()
    if len(content) < PART:
        md5 = hashlib.md5(content)
    else:
        parts = (content[first : first + PART] for first in range(0, len(content), PART))
        md5 = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts))
    return len(content), urlsafe_b64encode(md5.digest()).decode().rstrip("=")


async def main() -> None:
    """Prints three queries, then what the check found."""
    artifacts = inhaul.Artifact.filter(key__startswith=f"{FOLDER.name}/")

    print("\nThe largest files:")
    print((await artifacts.order_by("-size").limit(5).df())[["key", "size", "hash", "hash_type"]].to_string())

    print("\nEmpty files:", await artifacts.filter(size=0).count())

    text = await artifacts.filter(suffix=".txt").order_by("key").first()
    if text is not None:
        first = (await text.load()).partition("\n")[0]
        print(f"\n{text.key}, stored at {text.path}, begins: {first}")

    found = {f"{FOLDER.name}/{path.relative_to(FOLDER).as_posix()}": digest(path) for path in files()}
    stored = {artifact.key: (artifact.size, artifact.hash) async for artifact in artifacts}
    different = [key for key in found.keys() | stored.keys() if found.get(key) != stored.get(key)]
    print(f"\n{len(found):,} files, {len(stored):,} artifacts, {len(different):,} differences")
    if different:
        sys.exit("differ: " + ", ".join(sorted(different)[:10]))


if __name__ == "__main__":
    asyncio.run(main())

"""Every hash is compared with hashlib, at the sizes where rules and blocks change."""

import base64
import hashlib
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from hypothesis import given
from hypothesis import strategies as st

from children import NOBODY, run
from inhaul import _core, hashing
from inhaul.errors import FileChanged
from inhaul.hashing import etags
from s3_servers import S3Server
from trees import open_to_all

MIB = 1024 * 1024
PART = 8 * MIB
SIZES = [0, 1, *range(55, 66), *range(127, 130), 4096, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537]
SIZES += [MIB, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1, 5 * PART - 7]


def text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def rule(data: bytes, part_size: int = PART, function: Callable[[bytes], Any] = hashlib.md5) -> tuple[bytes, int]:
    """Returns the binary digest and the number of parts; 0 if there are none."""
    if len(data) < part_size:
        return function(data).digest(), 0
    parts = [function(data[at : at + part_size]).digest() for at in range(0, len(data), part_size)]
    return function(b"".join(parts)).digest(), len(parts)


def expected(data: bytes, algorithm: hashing.Algorithm = "md5") -> hashing.Digest:
    match algorithm:
        case "md5":
            digest, parts = rule(data)
            return hashing.Digest(text(digest), f"md5-{parts}" if parts else "md5", len(data))
        case "md5-whole":
            return hashing.Digest(text(hashlib.md5(data).digest()), "md5", len(data))
        case "sha256":
            return hashing.Digest(text(hashlib.sha256(data).digest()), "sha256", len(data))
        case "sha256-parts":
            digest, parts = rule(data, function=hashlib.sha256)
            return hashing.Digest(text(digest), f"sha256-{parts}" if parts else "sha256", len(data))
        case "sha1-fl":
            if len(data) <= 50 * MIB:
                return expected(data, "md5-whole")
            ends = hashlib.sha1(data[: 50 * MIB]).digest() + hashlib.sha1(data[-50 * MIB :]).digest()
            return hashing.Digest(text(hashlib.sha1(ends).digest())[:22], "sha1-fl", len(data))


@pytest.fixture(scope="module")
def content() -> bytes:
    return random.Random(1).randbytes(5 * PART)


@pytest.mark.parametrize("algorithm", ["md5", "md5-whole", "sha256", "sha256-parts", "sha1-fl"])
def test_hashes_are_right_at_every_boundary(tmp_path: Path, content: bytes, algorithm: hashing.Algorithm) -> None:
    paths = [tmp_path / str(size) for size in SIZES]
    for path, size in zip(paths, SIZES, strict=True):
        path.write_bytes(content[:size])
    wanted = [expected(content[:size], algorithm) for size in SIZES]
    assert hashing.hash_files(paths, algorithm) == wanted
    assert [hashing.hash_file(path, algorithm) for path in paths] == wanted
    assert [hashing.hash_bytes(content[:size], algorithm) for size in SIZES] == wanted


@given(st.binary(max_size=300))
def test_hashes_of_any_bytes_are_right(data: bytes) -> None:
    for algorithm in ("md5", "md5-whole", "sha256", "sha256-parts", "sha1-fl"):
        assert hashing.hash_bytes(data, algorithm) == expected(data, algorithm)


def test_any_buffer_is_hashed(content: bytes) -> None:
    for data in (bytearray(content[:1000]), memoryview(content)[:1000]):
        assert hashing.hash_bytes(data) == expected(content[:1000])


def test_hashes_come_in_the_order_of_the_files(tmp_path: Path, content: bytes) -> None:
    generator = random.Random(2)
    contents = [content[:size] for size in generator.choices([0, 1, 64, 1000, 4096, 20_000, 200_000], k=1500)]
    paths = [tmp_path / f"{n % 7}" / str(n) for n in range(len(contents))]
    for folder in range(7):
        (tmp_path / str(folder)).mkdir()
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    order = generator.sample(range(len(paths)), len(paths))
    assert hashing.hash_files([paths[n] for n in order]) == [expected(contents[n]) for n in order]


@pytest.mark.parametrize("place", ["first", "last"])
def test_threads_share_one_huge_file_among_tiny_ones(tmp_path: Path, place: str) -> None:
    paths = [tmp_path / str(number) for number in range(2000)]
    for path in paths:
        path.write_bytes(path.name.encode())
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(200 * PART)  # sparse, so no disk slows it down
    paths.insert(0 if place == "first" else len(paths), huge)

    read = {}  # bytes by thread
    with ThreadPoolExecutor(1) as pool:
        hashes = pool.submit(_core.hash_files, paths, "md5", PART, 2, None, None)
        while not hashes.done():
            for thread in Path("/proc/self/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                    if (thread / "comm").read_text() == "inhaul-scan\n":
                        read[thread.name] = int((thread / "io").read_text().split()[1])
            time.sleep(0.002)
    assert len(hashes.result()) == len(paths)
    assert len(read) == 2
    assert min(read.values()) > 0.2 * sum(read.values())  # on a busy machine, the last look may be too early


def test_published_vectors(tmp_path: Path) -> None:
    assert hashing.hash_bytes(b"").hash == "1B2M2Y8AsgTpgAmY7PhCfg"
    assert hashing.hash_bytes(b"a").hash == "DMF1ucDxtqgxw5niaXcmYQ"
    path = tmp_path / "x"
    path.write_bytes(b"x" * 50 * MIB)
    assert hashing.hash_file(path, "sha1-fl")[:2] == ("YZO-67gGW1upOdJ8wKxrrg", "md5")
    with path.open("ab") as file:
        file.write(b"x")
    assert hashing.hash_file(path, "sha1-fl")[:2] == ("cqwJlCk7I9TAny53wV0I0M", "sha1-fl")
    assert hashing.hash_bytes(path.read_bytes(), "sha1-fl") == hashing.hash_file(path, "sha1-fl")


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART])
def test_etags_are_right_for_any_part_size(tmp_path: Path, content: bytes, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content[:size])
    digest, parts = rule(content[:size])
    assert hashing.etag(path) == digest.hex() + (f"-{parts}" if parts else "")
    digest, parts = rule(content[:size], 5 * MIB)
    assert hashing.etag(path, 5 * MIB) == digest.hex() + (f"-{parts}" if parts else "")


def test_etag_doubles_parts_beyond_ten_thousand(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    for size, part_size in [(10_000, 1), (10_001, 2), (20_000, 2), (20_001, 4)]:
        path.write_bytes(content[:size])
        digest, parts = rule(content[:size], part_size)
        assert hashing.etag(path, 1) == f"{digest.hex()}-{parts}"


@pytest.mark.parametrize("part_size", [PART, 5 * MIB])
def test_etags_are_those_of_uploads(
    tmp_path: Path, content: bytes, part_size: int, s3_server: S3Server, s3_bucket: str
) -> None:
    rule = TransferConfig() if part_size == PART else TransferConfig(part_size, multipart_chunksize=part_size)
    path = tmp_path / "file"
    for size in [0, 1, part_size - 1, part_size, part_size + 1, 100 * MIB]:
        path.write_bytes((3 * content)[:size])
        client = s3_server.client
        client.upload_file(str(path), s3_bucket, "etag", Config=rule)
        assert f'"{hashing.etag(path, part_size)}"' == client.head_object(Bucket=s3_bucket, Key="etag")["ETag"]


def test_the_hash_of_large_files_is_the_etag(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    digest = hashing.hash_file(path)
    binary = base64.urlsafe_b64decode(digest.hash + "==")
    assert hashing.etag(path) == binary.hex() + digest.hash_type.removeprefix("md5")


def test_digests_in_hex_are_those_of_hashlib(content: bytes) -> None:
    for data in (b"", content):
        digest, parts = rule(data)
        assert hashing.hash_bytes(data).hex == digest.hex() + (f"-{parts}" if parts else "")
        assert hashing.hash_bytes(data, "md5-whole").hex == hashlib.md5(data).hexdigest()
        assert hashing.hash_bytes(data, "sha256").hex == hashlib.sha256(data).hexdigest()


def test_each_file_has_its_own_error(tmp_path: Path) -> None:
    good, pipe, unix = tmp_path / "good", tmp_path / "pipe", tmp_path / "socket"
    good.write_bytes(b"a")
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(unix))
        paths = [good, tmp_path / "missing", tmp_path, pipe, unix, Path("/dev/zero"), tmp_path / "no" / "where"]
        results = hashing.hash_files(paths)
    assert results[0] == expected(b"a")
    kinds = [FileNotFoundError, IsADirectoryError, OSError, OSError, OSError, FileNotFoundError]
    for path, result, kind in zip(paths[1:], results[1:], kinds, strict=True):
        assert type(result) is kind
        assert result.filename == str(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        hashing.hash_file(tmp_path / "missing")


def test_paths_of_any_kind_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = b"not utf-8 \xff\n"
    (tmp_path / os.fsdecode(name)).write_bytes(b"a")
    (tmp_path / "link").symlink_to(os.fsdecode(name))
    assert hashing.hash_files([name, os.fsdecode(name), tmp_path / "link"]) == [expected(b"a")] * 3
    assert hashing.hash_files([]) == []


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sha512"):
        hashing.hash_bytes(b"", "sha512")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sha512"):
        hashing.hash_files([], "sha512")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sha512"):
        hashing.hash_dir(tmp_path, "sha512")  # type: ignore[arg-type]
    for part_size in (0, -1):
        with pytest.raises(ValueError, match="part_size"):
            hashing.etag(tmp_path, part_size)


def test_an_unknown_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """if True:
        from inhaul import hashing

        for call in [lambda: hashing.hash_bytes(b""), lambda: hashing.hash_file("/etc/passwd")]:
            try:
                call()
            except ValueError as error:
                print(error)
    """
    monkeypatch.setenv("INHAUL_HASH_BACKEND", "abacus")
    child = run(script)
    assert child.returncode == 0, child.stderr
    assert child.stdout.count('hash backend "abacus" is unknown') == 2
    monkeypatch.setenv("INHAUL_HASH_BACKEND", "portable")
    assert run(script).stdout == ""


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"a")
    path.chmod(0)
    open_to_all(tmp_path)
    script = f"from inhaul.hashing import hash_files; print(repr(hash_files([{str(path)!r}])))"
    child = run(script, wrapper=NOBODY)
    assert "PermissionError(13, 'Permission denied')" in child.stdout, child.stderr


def tree_digest(files: dict[str, bytes]) -> str:
    lines = []
    for path, data in sorted((name.encode(), data) for name, data in files.items()):
        lines.append(path + b"\0%d\0" % len(data) + expected(data).hash.encode() + b"\n")
    return text(hashlib.md5(b"".join(lines)).digest())


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, bytes]:
    files = {"a/b": b"1", "a-b": b"22", "a.b": b"", "a/c/d": b"4" * 5000, "z": b"1", "a0": b"x" * (PART + 1)}
    for name, data in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)
    return files


def test_md5_tree_is_the_hash_of_the_records_in_order(tmp_path: Path, tree: dict[str, bytes]) -> None:
    result = hashing.hash_tree(tmp_path / "tree")
    assert result.digest == (tree_digest(tree), "md5-tree", sum(map(len, tree.values())))
    assert result.n_objects == len(tree)


def test_md5_tree_covers_names(tmp_path: Path, tree: dict[str, bytes]) -> None:
    before = hashing.hash_dir(tmp_path / "tree")
    (tmp_path / "tree" / "z").rename(tmp_path / "tree" / "y")
    after = hashing.hash_dir(tmp_path / "tree")
    assert before.hash != after.hash
    assert before.size == after.size


def test_md5_d_of_a_folder_is_the_published_one(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).write_text(name)
    assert hashing.hash_dir(tmp_path, "md5-d") == ("Rk5agZt409Ql9aNASmbGlg", "md5-d", 2)


def test_links_and_excluded_files_are_left_out_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without files"):
        hashing.hash_dir(tmp_path)
    (tmp_path / "kept").write_bytes(b"k")
    (tmp_path / "left.log").write_bytes(b"l")
    (tmp_path / "link").symlink_to("kept")
    assert hashing.hash_dir(tmp_path, exclude=["*.log"]).hash == tree_digest({"kept": b"k"})
    assert hashing.hash_dir(tmp_path, exclude=["*.log"], follow_symlinks=True).hash == tree_digest(
        {"kept": b"k", "link": b"k"}
    )
    (tmp_path / ".inhaulignore").write_bytes(b"*.log\n")
    assert hashing.hash_dir(tmp_path).hash == tree_digest({"kept": b"k", ".inhaulignore": b"*.log\n"})
    with pytest.raises(FileNotFoundError):
        hashing.hash_dir(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        hashing.hash_dir(tmp_path / "kept")


def test_an_unreadable_file_refuses_the_folder(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"g")
    (tmp_path / "bad").write_bytes(b"b")
    (tmp_path / "bad").chmod(0)
    open_to_all(tmp_path)
    script = f"""
from inhaul.hashing import hash_dir
try:
    hash_dir({str(tmp_path)!r})
except PermissionError as error:
    print(error.filename)
"""
    child = run(script, wrapper=NOBODY)
    assert child.stdout.strip() == str(tmp_path / "bad"), child.stderr


def test_a_file_that_keeps_changing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0" * 64 * MIB)
    stamp = path.stat()
    done = threading.Event()

    def write() -> None:
        with path.open("r+b", buffering=0) as file:
            while not done.is_set():
                os.pwrite(file.fileno(), os.urandom(8), 32 * MIB)
                os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(FileChanged, match="file"):
            hashing.hash_file(path)
    finally:
        done.set()
        writer.join()
    assert hashing.hash_file(path) == expected(path.read_bytes())


HASH_FILE = "import sys; from inhaul import hashing; print(hashing.hash_file(sys.argv[1]).hex)"
HASH_FOLDER = "import sys; from inhaul import hashing; print(hashing.hash_dir(sys.argv[1]).hex)"


def settle() -> None:
    """Waits until the clock of file times has moved on, so that new files count as old."""
    time.sleep(0.03)


def test_a_tiny_file_takes_four_system_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHAUL_THREADS", "2")  # no look at what the threads do, which may be more on a busy machine

    def calls(files: int) -> Counter[str]:
        folder = tmp_path / str(files)
        folder.mkdir()
        for number in range(files):
            (folder / str(number)).write_bytes(os.urandom(4096))
        settle()
        summary = tmp_path / "summary"
        script = HASH_FOLDER.replace("sys.argv[1]", "sys.argv[1], memo=False")
        run(script, str(folder), wrapper=("strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", str(summary)))
        counts = (line.split() for line in summary.read_text().splitlines()[2:-2])
        return Counter({name: int(count) for count, name in counts})

    each = calls(1_100) - calls(100)
    assert {name: round(count / 1_000, 1) for name, count in each.items() if count > 100} == {
        "openat": 1.0,
        "pread64": 1.0,
        "fstat": 1.0,
        "close": 1.0,
    }


def test_a_tiny_file_that_changes_after_it_was_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    stamp = path.stat()
    settle()
    slowly = ("strace", "-f", "-qq", f"-P{path}", "-e", "inject=pread64:delay_exit=1000000:when=1", "-o", os.devnull)
    with ThreadPoolExecutor(1) as pool:
        child = pool.submit(run, HASH_FILE, str(path), wrapper=slowly)
        while not is_open(path):
            time.sleep(0.01)
        time.sleep(0.2)
        path.write_bytes(b"behind")
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert child.result().stdout.strip() == hashlib.md5(b"behind").hexdigest(), child.result().stderr


def is_open(path: Path) -> bool:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if link.readlink() == path:
                return True
    return False


def test_an_interrupt_ends_the_hashing_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    def interrupt() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        hashing.hash_file(path)
    assert time.monotonic() - started < 1.3
    thread.join()


def test_the_records_of_a_folder_hash_as_the_folder(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z", "a.txt", "é/0"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    records = [(path.relative_to(tmp_path).as_posix(), hashing.hash_file(path)) for path in paths]
    assert etags.hash_records(records) == hashing.hash_tree(tmp_path)
    with pytest.raises(ValueError, match="no file"):
        etags.hash_records([])


def test_an_etag_is_a_hash_where_it_can_be_one() -> None:
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    assert etags.from_etag(md5, 0) == hashing.hash_bytes(b"")
    assert etags.from_etag(f"{md5}-3", 17 * MIB).hash_type == "md5-3"
    assert etags.from_etag(f"{md5}-10000", 100 << 30).hash_type == "etag"  # its parts are of 16 MiB
    assert etags.from_etag(f"{md5}-6400", 100 << 30).hash_type == "md5-6400"
    assert etags.from_etag(md5, 17 * MIB).hash_type == "md5"
    for etag in (f"{md5}-2", f"{md5}-4", f"{md5}-", md5[:-1], "0x8D4BCC2E4835CD0", None):
        digest = etags.from_etag(etag, 17 * MIB)
        assert digest == hashing.Digest(hashing.hash_bytes((etag or "").encode()).hash, "etag", 17 * MIB)
    assert etags.from_etag(f"{md5}-1", MIB).hash_type == "etag"  # its only part may have any size


def test_the_md5_of_a_large_object_is_made_again(tmp_path: Path) -> None:
    content = os.urandom(9 * MIB)
    (tmp_path / "large").write_bytes(content)
    digest = etags.from_etag(hashlib.md5(content).hexdigest(), len(content))
    assert hashing.hash_like(tmp_path / "large", digest.hash_type) == digest

"""CRC32C of bytes, of contents in a row, and of the parts of a file."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhaul._core import PartReader, crc32c, crc32c_combine
from inhaul.errors import FileChanged

MIB = 1024 * 1024
PART = 8 * MIB


def expected(content: bytes) -> int:
    """The CRC32C by its definition, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_the_examples_of_rfc_3720() -> None:
    for content, crc in (
        (bytes(32), "aa36918a"),
        (b"\xff" * 32, "43aba862"),
        (bytes(range(32)), "4e79dd46"),
        (bytes(reversed(range(32))), "5cdb3f11"),
        (bytes.fromhex("01c0" + 14 * "00" + "14" + 5 * "00" + "04" + 4 * "00" + "14000000" + "1828")
         + bytes(7) + b"\x02" + bytes(7), "563a96d9"),
    ):  # fmt: skip
        assert crc32c(content).to_bytes(4, "little").hex() == crc
    assert crc32c(b"") == 0


@given(st.binary(max_size=1000), st.binary(max_size=1000))
def test_any_split(first: bytes, second: bytes) -> None:
    whole = expected(first + second)
    assert crc32c(first + second) == whole
    assert crc32c(second, crc32c(first)) == whole
    assert crc32c_combine(crc32c(first), crc32c(second), len(second)) == whole


def test_other_buffers() -> None:
    content = bytearray(b"0123456789")
    assert crc32c(content) == crc32c(memoryview(content)) == crc32c(bytes(content)) == expected(content)
    assert crc32c(memoryview(content)[::2]) == expected(content[::2])


def test_wrong_numbers() -> None:
    for wrong in (-1, 2**32):
        with pytest.raises(OverflowError):
            crc32c(b"", wrong)
        with pytest.raises(OverflowError):
            crc32c_combine(0, wrong, 0)
    for length in (-1, 2**64):
        with pytest.raises(OverflowError):
            crc32c_combine(0, 0, length)
    with pytest.raises(TypeError):
        crc32c("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 4096, 256 * 1024 + 1, PART - 1, PART, PART + 1, 2 * PART + 5])
def test_parts_with_their_crc32c(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "f").write_bytes(content)
    reader = PartReader(tmp_path / "f")
    parts = reader.read_with_crc32c(0, reader.count)
    assert [(part, md5) for part, md5, _ in parts] == reader.read(0, reader.count)
    assert [crc for _, _, crc in parts] == [crc32c(part) for part, _, _ in parts]
    whole = 0
    for part, _, crc in parts:
        whole = crc32c_combine(whole, crc, len(part))
    assert whole == crc32c(content)


def test_parts_of_a_file_that_are_in_the_middle(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(1005)
    (tmp_path / "f").write_bytes(content)
    reader = PartReader(tmp_path / "f", part_size=10)
    for first, count in ((0, 3), (50, 40), (100, 1), (7, 0)):
        parts = reader.read_with_crc32c(first, count)
        assert [part for part, _, _ in parts] == [
            content[i : i + 10] for i in range(first * 10, (first + count) * 10, 10)
        ]
        assert [crc for _, _, crc in parts] == [expected(part) for part, _, _ in parts]
    with pytest.raises(ValueError, match="only 101"):
        reader.read_with_crc32c(100, 2)


def test_parts_of_a_file_that_became_shorter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(MIB))
    reader = PartReader(path)
    for size in (MIB - 1, 256 * 1024, 0):
        with path.open("r+b") as file:
            file.truncate(size)
        with pytest.raises(FileChanged, match=str(path)):
            reader.read_with_crc32c(0, 1)

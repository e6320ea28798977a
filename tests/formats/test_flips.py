"""Files with a byte changed are read, or refused by an error that names them: no crash, no hang, no raw error."""

import os
from pathlib import Path

import pytest

import flips
from registries import seeds

# `python tests/support/flips.py FIRST LAST` repeats the flips of a seed that failed.
EACH = 1000 if "SOAK" in os.environ else 120  # flips of a seed

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file of each format."""
    folder = tmp_path_factory.mktemp("flips") / "whole"
    folder.mkdir()
    flips.make(folder)
    return folder


@seeds(1, 20)
def test_a_changed_byte_ends_no_process(whole: Path, seed: int) -> None:
    assert flips.problems(whole, range(seed * EACH, (seed + 1) * EACH)) == []

"""Files that many releases of the libraries wrote: each way in and out ends as the table in the docs says."""

import pytest

import outcomes


def test_the_table_has_every_file_and_no_empty_cell() -> None:
    head, rule, *rows = outcomes.table()
    assert head.count("|") == rule.count("|") == len(outcomes.WAYS) + 2
    assert [row.split("|")[1].strip() for row in rows] == outcomes.FILES
    assert all(cell.strip() for row in rows for cell in row.split("|")[1:-1])


@pytest.mark.parametrize("file", outcomes.FILES)
def test_each_way_ends_as_the_table_says(file: str) -> None:
    seen = outcomes.row(file, outcomes.outcomes(file))
    assert seen in outcomes.table(), "run `python tests/support/outcomes.py`, and see whether its change is right"

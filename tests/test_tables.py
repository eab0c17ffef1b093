"""Tables: text in, text out, `n/a` for missing, and damage is named."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conn.errors import InputError
from conn.tables import format_tsv, number, read_tsv, to_number, write_tsv


def parse(folder: Path, raw: bytes) -> pd.DataFrame:
    (folder / "t.tsv").write_bytes(raw)
    return read_tsv(folder / "t.tsv")


def refused(folder: Path, raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse(folder, raw)
    assert str(folder / "t.tsv") in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", ["", None])
def test_any_line_end_and_a_byte_order_mark_are_accepted(tmp_path, end, mark, last):
    text = "id\tx" + end + "007\tNA" + end + "é\tn/a" + (end if last is None else last)
    table = parse(tmp_path, mark + text.encode())
    assert table.to_dict("list") == {"id": ["007", "é"], "x": ["NA", "n/a"]}


def test_nothing_is_converted(tmp_path):
    cells = ["007", "NA", "nan", "None", "1e3", "true", "", "0x10", "1,5", '"q"', "'s'", "#c"]
    table = parse(tmp_path, ("a\tb\n" + "".join(f"{c}\tx\n" for c in cells)).encode())
    assert table["a"].tolist() == cells


def test_blanks_around_cells_and_non_breaking_spaces_go(tmp_path):
    table = parse(tmp_path, " a\u00a0\tb \n x \t\u00a0y z\n".encode())
    assert table.to_dict("list") == {"a": ["x"], "b": ["y z"]}


def test_empty_lines_are_passed_over(tmp_path):
    assert parse(tmp_path, b"\na\tb\n\n1\t2\n\t\n\n")["a"].tolist() == ["1"]


def test_latin_1_is_refused_and_the_byte_named(tmp_path):
    message = refused(tmp_path, "id\tname\n1\tJos\u00e9\n".encode("latin-1"))
    assert "byte 13 is 0xe9, which is not UTF-8" in message


def test_utf_16_is_refused(tmp_path):
    assert "byte 0 is 0xff" in refused(tmp_path, "id\tx\n1\t2\n".encode("utf-16"))


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    assert "column 'a' occurs 2 times" in refused(tmp_path, b"a\tb\ta \n1\t2\t3\n")


@pytest.mark.parametrize(("row", "cells"), [(b"1", 1), (b"1\t2\t3", 3), (b"1,2", 1)])
def test_ragged_rows_are_refused_with_their_number(tmp_path, row, cells):
    message = refused(tmp_path, b"a\tb\n0\t0\n" + row + b"\n")
    assert f"row 3 has {cells} cells, the header has 2" in message


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path, raw):
    assert "the table is empty" in refused(tmp_path, raw)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.tsv: the table is not there"):
        read_tsv(tmp_path / "nowhere.tsv")


def test_a_cell_of_any_length_is_read(tmp_path):
    long = "x" * 300_000
    assert parse(tmp_path, f"a\n{long}\n".encode())["a"].tolist() == [long]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (math.nan, "n/a"),
        (np.float32("nan"), "n/a"),
        (pd.NA, "n/a"),
        (True, "true"),
        (np.bool_(False), "false"),
        (12345678901, "12345678901"),
        (np.int64(12345678901), "12345678901"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333"),
        (np.float64(1e-12), "1e-12"),
        (2.0, "2"),
        (-0.5, "-0.5"),
        ("NA", "NA"),
    ],
)
def test_numbers_are_written_short_and_exact(value, text):
    assert number(value) == text


def test_missing_cells_are_written_as_n_a_and_booleans_as_words(tmp_path):
    table = pd.DataFrame(
        {
            "id": ["007", "NA", ""],
            "x": [1.5, math.nan, 3.0],
            "ok": [True, False, True],
            "n": [1, 2, 3],
            "w": [" ", None, "b\tc\nd"],
        }
    )
    write_tsv(tmp_path / "t.tsv", table)
    assert (tmp_path / "t.tsv").read_text() == (
        "id\tx\tok\tn\tw\n007\t1.5\ttrue\t1\tn/a\nNA\tn/a\tfalse\t2\tn/a\nn/a\t3\ttrue\t3\tb c d\n"
    )


def test_a_table_without_rows_keeps_its_header(tmp_path):
    write_tsv(tmp_path / "t.tsv", pd.DataFrame(columns=["a", "b"]))
    assert (tmp_path / "t.tsv").read_text() == "a\tb\n"
    assert list(read_tsv(tmp_path / "t.tsv").columns) == ["a", "b"]


WORD = st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Cn", "Zs", "Zl", "Zp"]), min_size=1, max_size=8
)
CELL = st.lists(WORD, min_size=1, max_size=3).map(" ".join)


@given(rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=6))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_as_it_was_written(tmp_path, rows):
    table = pd.DataFrame(rows, columns=["a", "b", "c"])
    write_tsv(tmp_path / "t.tsv", table)
    pd.testing.assert_frame_equal(read_tsv(tmp_path / "t.tsv"), table)


@given(
    values=st.lists(
        st.just(math.nan) | st.floats(-1e300, 1e300, allow_subnormal=False), min_size=1, max_size=8
    )
)
def test_floats_come_back_within_ten_digits(values):
    lines = format_tsv(pd.DataFrame({"x": values})).splitlines()[1:]
    for value, cell in zip(values, lines, strict=True):
        back = to_number(cell)
        assert math.isnan(back) if math.isnan(value) else back == pytest.approx(value, rel=1e-9)


def test_only_missing_codes_are_missing():
    assert math.isnan(to_number("n/a"))
    assert math.isnan(to_number("-9", frozenset({"-9"})))
    with pytest.raises(ValueError, match="NA"):
        to_number("NA")

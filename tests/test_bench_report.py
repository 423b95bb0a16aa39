"""Tables and JSON from given figures."""

from __future__ import annotations

import json

import pytest

from nncore.bench import records, report


def entry(contestant, threads, *microseconds):
    return {"contestant": contestant, "threads": threads, "seconds": [us * 1e-6 for us in microseconds]}


DIGITS = {
    "description": "64-64-10, batch 32",
    "dtype": "float32",
    "flops": 1_000_000,
    "peak_gflops": [400.0, 500.0, 450.0],
    "entries": [
        entry("nncore", 0, 5, 4, 20),
        entry("numpy", 1, 80, 60, 70),
        entry("numpy", 2, 50, 40, 90),
        entry("torch", 1, 30, 35, 32),
        entry("backend=numpy", 1, 1, 1, 1),
    ],
}
NAMES = ["nncore", "numpy", "torch", "jax", "backend=numpy"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.28123, "0.281"), (3.687, "3.69"), (45.0, "45.0"), (130.2, "130"), (54619.8, "54,620"), (0.0, "0")],
)
def test_numbers_have_three_digits_or_all_of_the_whole_part(value, text):
    assert report.number(value) == text


def test_the_better_number_of_threads_counts():
    found = records.best([*DIGITS["entries"], entry("jax", 0)])
    assert list(found) == ["nncore", "numpy", "torch", "backend=numpy"]
    assert found["numpy"]["threads"] == 2


def test_a_row_of_the_training_table():
    cells = dict(zip(_titles(report.training_table(NAMES)), report.training_row("digits", DIGITS, NAMES), strict=True))
    assert cells == {
        "work": "digits",
        "network": "64-64-10, batch 32",
        "nncore, us/step": "5.00",
        "lowest to highest": "4.00 to 20.0",
        "GFLOP/s": "200",
        "of FMA peak": "40%",
        "numpy, us/step": "50.0",
        "torch, us/step": "32.0",
        "jax, us/step": "-",
        "backend=numpy, us/step": "1.00",
        "best peer / nncore": "6.40 (torch)",  # nncore's own NumPy backend is no peer
    }


def _titles(table):
    return [cell.strip() for cell in table.head[0].strip("|").split("|")]


def test_a_row_without_nncore_or_without_peers():
    assert report.training_row("digits", DIGITS, ["numpy"]) == ["digits", "64-64-10, batch 32", "50.0"]
    assert _titles(report.training_table(["numpy"])) == ["work", "network", "numpy, us/step"]
    row = report.training_row("digits", DIGITS, ["nncore", "backend=numpy"])
    assert row[-1] == "1.00" and len(row) == len(_titles(report.training_table(["nncore", "backend=numpy"])))


def test_a_row_where_nncore_or_the_peak_failed():
    failed = {**DIGITS, "entries": DIGITS["entries"][1:]}
    row = report.training_row("digits", failed, ["nncore", "numpy"])
    assert row == ["digits", "64-64-10, batch 32", "-", "-", "-", "-", "50.0", "-"]
    row = report.training_row("digits", {**DIGITS, "peak_gflops": []}, ["nncore", "numpy"])
    assert row[2:6] == ["5.00", "4.00 to 20.0", "200", "-"]


def test_a_table_is_markdown():
    table = report.Table(["work", "time"], (6,))
    assert [*table.head, table.row(["xor", "1.0"])] == [
        "| work   |    time |",
        "|--------|--------:|",
        "| xor    |     1.0 |",
    ]


def test_the_latency_table():
    lines = report.latency_lines([entry("nncore", 0, 2, 1, 3), entry("numpy", 1, 9), entry("numpy", 2, 8)])
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]] == [
        ["nncore", "2.00", "1.00 to 3.00", "1.00"],
        ["numpy", "8.00", "8.00 to 8.00", "4.00"],
    ]
    assert report.latency_lines([entry("numpy", 1, 9)])[2].endswith(" - |")


def test_the_table_of_neighbours_compares_with_the_listed_size():
    found = {
        "dtype": "float32",
        "listed": "8-4-2",
        "networks": [
            {"network": "8-4-2", "flops": 1000, "seconds": [1e-6, 1e-6]},
            {"network": "8-5-2", "flops": 1250, "seconds": [2.5e-6]},
        ],
    }
    assert report.neighbours_rows("tiny", found) == [
        ["tiny", "8-4-2", "1.00", "1.00", "1.00"],
        ["tiny", "8-5-2", "2.50", "0.500", "0.50"],
    ]
    # Where the listed size failed there is nothing to compare with.
    del found["networks"][0]
    assert report.neighbours_rows("tiny", found) == [["tiny", "8-5-2", "2.50", "0.500", "-"]]


def test_the_table_of_precisions():
    found = {"description": "8-4-2", "float32": [1e-6, 3e-6, 2e-6], "float64": [4e-6]}
    assert report.precision_row("tiny", found) == ["tiny", "8-4-2", "2.00", "4.00", "0.50"]
    assert report.precision_row("tiny", {**found, "float64": []}) == ["tiny", "8-4-2", "2.00", "-", "-"]


def test_what_is_written_as_json_makes_the_same_table(tmp_path):
    file = tmp_path / "found.json"
    results = {"command": "nncore bench", "training": {"digits": DIGITS}}
    report.write_json(file, results)
    read = json.loads(file.read_text(encoding="utf-8"))
    assert read == results
    assert report.training_row("digits", read["training"]["digits"], NAMES) == report.training_row(
        "digits", DIGITS, NAMES
    )


def test_no_nan_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        report.write_json(tmp_path / "x.json", {"a": float("nan")})

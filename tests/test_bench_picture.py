"""The picture of the bench."""

from __future__ import annotations

import pytest
from test_bench_report import DIGITS, NAMES

from nncore.bench import picture
from nncore.bench.contestants import CONTESTANTS

MACHINE = {
    "cpu": "A CPU",
    "cores": 2,
    "isa": "avx2",
    "versions": {"nncore": "0.1", "torch": "2.0"},
    "date": "2026-01-02T03:04:05+00:00",
}


def test_every_contestant_has_a_colour_of_its_own():
    assert set(picture._COLOURS) == set(CONTESTANTS)
    assert len(set(picture._COLOURS.values())) == len(CONTESTANTS)


def test_the_subtitle_says_where_and_when():
    assert picture.subtitle(MACHINE) == "A CPU, 2 cores; nncore on avx2; nncore 0.1, PyTorch 2.0; 2026-01-02"
    assert picture.subtitle({**MACHINE, "cores": 1, "isa": None}).startswith("A CPU, 1 core; nncore on NumPy; ")


@pytest.mark.parametrize(("suffix", "first"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_written(tmp_path, suffix, first):
    pytest.importorskip("matplotlib")
    file = tmp_path / f"bench{suffix}"
    picture.draw(file, {"digits": DIGITS, "failed": {**DIGITS, "entries": []}}, NAMES, MACHINE)
    assert file.read_bytes().startswith(first)
    picture.draw(file, {"failed": {**DIGITS, "entries": []}}, NAMES, MACHINE)

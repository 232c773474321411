"""The excerpts of every path run alone and in order, with what they assert; minutes, so in the notebooks' stage."""

import sys

import pytest
from repo import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import run_paths

from course_utils.teaching import hours, paths


@pytest.mark.slow
@pytest.mark.parametrize("name", list(paths.paths()))
def test_the_excerpts_of_a_path_run_alone(name, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_COMPARED", "1")
    taken = run_paths.run(name, tmp_path)
    assert list(taken) == list(paths.names(paths.find(name)).values())
    known = hours.measured_seconds()
    for file, seconds in taken.items():
        assert seconds < 3 * known[file], f"{file} took {seconds:.0f} s: python tools/run_paths.py {name} --time"

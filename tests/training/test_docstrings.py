"""Training pairs from docstrings: parsed, cleaned, never run."""

import sys

import pytest
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.training import docstrings, recipes
from course_utils.training.recipes import Data, Recipe, Stage

DOC = '''Fit a smooth curve through *noisy* points.

Each point pulls the curve with a weight :math:`w` as in [1]_, and the
curve resists bending. The result is a compromise between the two.

Parameters
----------
points : array
    Where the curve should go.

Notes
-----
A large weight gives an interpolating spline.

.. versionadded:: 1.2

Examples
--------
>>> fit([1, 2])
'''


def test_what_is_said_of_the_subject_is_kept_and_the_rest_left_out():
    summary, body = docstrings.summary_and_body(DOC)
    assert summary == "Fit a smooth curve through noisy points."
    assert body.startswith("Each point pulls the curve with a weight w as in , and the curve resists bending.")
    assert body.endswith("A large weight gives an interpolating spline.")
    for absent in ("array", "versionadded", ">>>", "Parameters"):
        assert absent not in body


def test_long_bodies_are_cut():
    assert len(docstrings.summary_and_body("A summary.\n\n" + "word " * 900)[1].split()) == docstrings.BODY[1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must be read without being run."""
    room = tmp_path / "somepackage"
    (room / "tests").mkdir(parents=True)
    text = "Explains how the thing works in " + "many plain words " * 9
    (room / "__init__.py").write_text(f'"""Does a thing with great care.\n\n{text}\n"""\nraise SystemExit("run")\n')
    function = f'def f():\n    """Does another thing, just as well.\n\n    {text}and more.\n    """\n'
    (room / "more.py").write_text(function + function.replace("f()", "g()") + 'def h():\n    """Short."""\n')
    (room / "tests" / "test_it.py").write_text(function.replace("another", "a tested"))
    monkeypatch.syspath_prepend(tmp_path)
    yield "somepackage"
    sys.modules.pop("somepackage", None)


def test_a_package_is_parsed_not_imported(package):
    rows = docstrings.pairs([package])
    assert [r["query"] for r in rows] == ["Does a thing with great care.", "Does another thing, just as well."]
    assert {r["source"] for r in rows} == {package} and package not in sys.modules


def test_a_missing_package_is_named():
    with pytest.raises(ModuleNotFoundError, match="no_such_package is not installed"):
        docstrings.pairs(["no_such_package"])


def test_the_command_writes_what_the_recipes_read(tmp_path, monkeypatch):
    monkeypatch.setattr(docstrings, "pairs", lambda: [{"query": "q", "positive": f"p {i}"} for i in range(4)])
    made = CliRunner().invoke(main, ["data", "docstrings", "--out", str(tmp_path / "data")])
    assert made.exit_code == 0 and "4 pairs" in made.stdout, made.output
    recipe = Recipe("smollm2", [Stage("contrastive", 1, 1e-3, 2)], [Data("docstrings.jsonl", "pairs")])
    (examples,), _ = recipes.load_examples(recipe, tmp_path / "data")
    assert {e.positive for e in examples} == {"p 0", "p 1", "p 2", "p 3"}


def test_an_installed_package_gives_technical_pairs():
    rows = docstrings.pairs(["networkx"])
    assert len(rows) > 300 and len({r["query"] for r in rows}) == len({r["positive"] for r in rows}) == len(rows)
    assert any("shortest path" in r["query"] for r in rows)
    assert not any("`" in r["positive"] for r in rows)
    assert sum(">>>" in r["positive"] for r in rows) < len(rows) / 100  # code in the middle of a line stays

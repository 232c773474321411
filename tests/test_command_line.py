"""The one command line: it answers at once, every text names commands that exist, errors are one line."""

import ast
import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from repo import ROOT, lessons, project_files, read, solutions

from course_utils.__main__ import main

SCRIPT = str(Path(sys.executable).with_name("several-tokens"))
MODULE = [sys.executable, "-m", "course_utils"]
#: A command in a text: the name and what follows it on the line, up to a sign that ends code.
NAMED = re.compile(r"several-tokens((?: [^\s`\"'|;,()]+)+)")


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def leaves(group: click.Group = main, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """All commands that do something, by their words."""
    found = {}
    for name, command in group.commands.items():
        found |= leaves(command, (*words, name)) if isinstance(command, click.Group) else {(*words, name): command}
    return found


def texts() -> dict[str, str]:
    """Everything that people read: documents, the Makefile, notebooks (source of their cells), messages in the code."""
    found = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in project_files() if p.suffix == ".md"}
    found["Makefile"] = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(COURSE)", "several-tokens")
    for path in (*lessons(), *solutions()):
        found[str(path.relative_to(ROOT))] = "\n".join(cell.source for cell in read(path).cells)
    for path in (ROOT / "course_utils").rglob("*.py"):
        found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    return found


def named_commands(text: str) -> list[tuple[tuple[str, ...], set[str]]]:
    """Words and long options of every command line in a text, without arguments; a wrong word is the last one."""
    found = []
    for match in NAMED.finditer(text):
        words, command = match[1].split(), main
        path: list[str] = []
        for word in words:
            if not isinstance(command, click.Group) or not re.fullmatch("[a-z][a-z-]*", word):
                break
            command, path = command.commands.get(word), [*path, word]
        if path:
            found.append((tuple(path), {word for word in words if re.fullmatch("--[a-z][a-z-]+", word)}))
    return found


def test_help_answers_at_once():
    def seconds() -> float:
        """Processor time, which other tests on the same cores do not lengthen as they do the time on the clock."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(SCRIPT, "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    times = [seconds() for _ in range(5)]
    assert min(times) < 0.3, times


def test_help_loads_nothing_heavy():
    heavy = "{'torch', 'numpy', 'scipy', 'transformers', 'safetensors', 'gensim'}"
    code = (
        "import sys; from course_utils.__main__ import main\n"
        f"for words in {[(), *leaves()]}: main([*words, '--help'], standalone_mode=False)\n"
        f"print('heavy:', {heavy} & set(sys.modules))"
    )
    done = run(sys.executable, "-c", code)
    assert done.stdout.count("Usage:") == 1 + len(leaves()), done.stderr
    assert done.stdout.endswith("heavy: set()\n"), done.stdout + done.stderr


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_help_says_what_is_written_and_how_long_it_takes(words):
    text = leaves()[words].help
    assert re.search(r"\bwrites?\b", text, re.IGNORECASE), text
    assert re.search(r"\b(takes?|took)\b.*\b(seconds?|minutes?|hours?)\b", text, re.DOTALL | re.IGNORECASE), text
    assert len(text.split("\n\n")[0]) <= 60, "the first paragraph stands in the list of commands, uncut"


COMMANDS = sorted({(place, *found) for place, text in texts().items() for found in
                   ((words, tuple(sorted(options))) for words, options in named_commands(text))})  # fmt: skip


@pytest.mark.parametrize(("place", "words", "options"), COMMANDS, ids=lambda part: " ".join(part) if part else "-")
def test_a_command_that_a_text_names_exists_with_its_options(place, words, options):
    done = CliRunner().invoke(main, [*words, "--help"])
    assert done.exit_code == 0, f"{place}: {done.output}"
    missing = [option for option in options if option not in done.output]
    assert not missing, f"{place}: {' '.join(words)} has no {missing}"


def test_the_texts_name_the_commands():
    places = {place for place, *_ in COMMANDS}
    assert len({words for _, words, _ in COMMANDS}) >= 8
    assert {"README.md", "Makefile", "data/README.md"} <= places
    assert sum(place.startswith("notebooks/") for place in places) >= 3
    assert sum(place.startswith("data/adapters/") for place in places) >= 7


def test_a_command_that_does_not_exist_is_noticed():
    assert named_commands("run `several-tokens data check-pairs FILE`, or several-tokens fetch --force x") == [
        (("data", "check-pairs"), set()),
        (("fetch",), {"--force"}),
    ]
    for wrong in ("several-tokens download smollm2", "`several-tokens data pairs`"):
        [(words, _)] = named_commands(wrong)
        assert CliRunner().invoke(main, [*words, "--help"]).exit_code == 2, words


def test_no_text_names_a_module_as_a_command():
    # Spelled in pieces, so that this file passes its own test.
    old = re.compile(r"-m course_utils" + r"\.")
    for path in project_files():
        if path.suffix in {".py", ".md", ".ipynb", ".toml", ".yml", ""}:
            found = old.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)} still names a module of the package as a command"


def doors(source: str) -> list[str]:
    """What makes a module a command of its own: argparse, a main function, a __main__ block, sys.argv."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] + [getattr(node, "module", None)]
            found += [m for m in ("argparse", "click") if m in modules]
        elif isinstance(node, ast.FunctionDef) and node.name == "main":
            found.append("main()")
        elif isinstance(node, ast.Constant) and node.value == "__main__":
            found.append("__main__")
        elif isinstance(node, ast.Attribute) and node.attr == "argv":
            found.append("argv")
    return found


def test_no_other_module_is_a_command():
    assert doors("import argparse\nif __name__ == '__main__':\n    pass") == ["argparse", "__main__"]
    modules = [p for p in (ROOT / "course_utils").rglob("*.py") if p.name != "__main__.py"]
    assert len(modules) > 50
    wrong = {str(p.relative_to(ROOT)): found for p in modules if (found := doors(p.read_text(encoding="utf-8")))}
    # Groups of the one command, which `__main__` adds to it, and no doors of their own.
    for place, name in (("search/scale", "scale"), ("training", "data")):
        assert wrong.pop(f"course_utils/{place}/commands.py") == ["click"] and name in main.commands
    assert not wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fetch", "smollm3"), "ValueError: no stored backbone 'smollm3'"),
        (("train", "no-such-recipe", "--data", "x"), "FileNotFoundError: no recipe "),
        (("train", "smol-sgpt-nli", "--data", "no-such-folder"), "FileNotFoundError: data file "),
        (("card", "no-such-adapter", "--text-only"), "FileNotFoundError: no "),
        (("search", "smol-sgpt-qa", "--beir", "notebooks", "--title", "X"), "FileNotFoundError: "),
        (("arrays", "--kind", "no-such-kind"), "ValueError: "),
        (("data", "check-parallel", "no-such-file"), "FileNotFoundError: no-such-file does not exist"),
        (("data", "public", "other.jsonl", "--out", "x"), "ValueError: no public set for 'other.jsonl'"),
        (("data", "crossed", "--data", "no-such-folder"), "FileNotFoundError: data file "),
    ],
)
def test_an_error_is_one_line_and_no_traceback(arguments, said):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit), done.output
    assert done.stderr.startswith(said) and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments", [("fetch", "--force"), ("train", "x"), ("search", "--title", "X"), ("no-such-command",), ("data", "x")]
)
def test_a_wrong_option_exits_with_2(arguments):
    done = CliRunner().invoke(main, arguments, prog_name="several-tokens")
    assert done.exit_code == 2 and "Usage: several-tokens" in done.stderr and not done.stdout


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    def broken(name):
        raise ZeroDivisionError

    monkeypatch.setattr("course_utils.models.store.repaired", broken)
    done = CliRunner().invoke(main, ["fetch"])
    assert isinstance(done.exception, ZeroDivisionError)


def test_an_error_of_the_store_is_told_with_its_remedy(monkeypatch):
    from course_utils.models.packages import DiskFull

    def full(name):
        raise DiskFull(f"{name} needs more room; set COURSE_CACHE")

    monkeypatch.setattr("course_utils.models.store.repaired", full)
    done = CliRunner().invoke(main, ["fetch", "gemma3"])
    assert done.exit_code == 1 and done.stderr == "DiskFull: gemma3 needs more room; set COURSE_CACHE\n"


@pytest.mark.parametrize("arguments", [("--help",), ("data", "check-pairs"), ("fetch", "smollm3"), ("train",)])
def test_both_doors_are_the_same(arguments):
    script, module = run(SCRIPT, *arguments), run(*MODULE, *arguments)
    assert (script.returncode, script.stdout, script.stderr) == (module.returncode, module.stdout, module.stderr)
    assert "Traceback" not in script.stderr


def test_training_options_arrive(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("course_utils.training.runs.train_recipe", lambda *a, **k: asked.append((a, k)) or tmp_path)
    options = ["--data", "d", "--keep-out", "a", "--keep-out", "b", "--dtype", "float32", "--compile"]
    done = CliRunner().invoke(main, ["train", "mine.toml", *options])
    assert done.exit_code == 0 and done.stdout == f"adapter written to {tmp_path}\n"
    [(positional, named)] = asked
    assert positional == ("mine.toml",) and named["data"] == Path("d") and named["keep_out"] == (Path("a"), Path("b"))
    assert named["dtype"] == "float32" and named["compiled"] and named["out"] is None and named["work"] == Path("runs")


def test_help_lists_the_kinds_of_arrays():
    from course_utils.shipped.kinds import KINDS

    named = re.search("The kinds are (.*?)\\.", leaves()["arrays",].help, re.DOTALL)[1]
    assert re.split(r",\s+|\s+and\s+", named) == list(KINDS)


def test_array_options_arrive(monkeypatch):
    asked = []
    monkeypatch.setattr("course_utils.shipped.arrays.make_stale", lambda *a, report: asked.append(a))
    done = CliRunner().invoke(main, ["arrays", "smol-eol", "--kind", "parallel", "--dtype", "bfloat16"])
    assert done.exit_code == 0, done.output
    assert asked == [(("parallel",), ("smol-eol",), "bfloat16")]


def test_without_packages_the_check_says_what_to_install():
    done = run(sys.executable, "-S", "-m", "course_utils", "fetch")
    assert done.returncode == 1 and "[FAIL] click is not installed" in done.stdout and not done.stderr, done.stderr

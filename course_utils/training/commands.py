"""The commands ``several-tokens data …`` and ``study …``: names, options and help; the work stands beside this."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click


class _Place(click.Path):
    """A path of the command line, with ``~`` expanded where the shell has left it."""

    def convert(self, value, param, ctx) -> Path:
        from course_utils import gates

        return gates.expanded(super().convert(value, param, ctx), param.name if param else "the path")


PATH = _Place(path_type=Path)


@click.group()
def data() -> None:
    """Make training data, or check a data file."""


@data.command()
@click.argument("files", nargs=-1)
@click.option("--out", type=PATH, required=True, help="Folder to write to.")
@click.option("--rows", type=click.IntRange(min=1), help="At most so many rows of each; by default all.")
@click.option("--copy", type=PATH, help="Folder with a local copy of the hub's data sets.")
def public(files: Sequence[str], out: Path, rows: int | None, copy: Path | None) -> None:
    """Write public training sets: FILES, by default all.

    They are those that the paper's embedders were trained on. Writes OUT/nli_triplets.jsonl and
    OUT/question_passage.jsonl. Needs the package datasets and a hub, or a copy of it; takes minutes for hundreds of
    thousands of rows.
    """
    from course_utils.training import public_data

    for file in files or public_data.SOURCES:
        n = public_data.write(file, out, rows, copy)
        click.echo(f"{file}: {n} rows from {public_data.SOURCES[file].hub_id} ({public_data.SOURCES[file].licence})")


@data.command("docstrings")
@click.option("--out", type=PATH, required=True, help="Folder of the training data.")
def docstring_pairs(out: Path) -> None:
    """Write training pairs from documentation.

    Writes OUT/docstrings.jsonl, a few thousand pairs from the docstrings of installed packages. Takes about a minute.
    """
    from course_utils.training import docstrings

    n = docstrings.write(out)
    click.echo(f"{n} pairs from {', '.join(docstrings.PACKAGES)} written to {out / 'docstrings.jsonl'}")


@data.command()
@click.option("--data", "folder", type=PATH, required=True, help="Folder of the training data.")
@click.option("--single", type=click.IntRange(min=0), default=3000, show_default=True, help="Single sentences to use.")
@click.option("--made", type=click.IntRange(min=0), default=3000, show_default=True, help="Sentences to put together.")
def crossed(folder: Path, single: int, made: int) -> None:
    """Write training texts with crossing labels.

    Their neighbours change with the instruction. Writes crossed.jsonl, made of clinc_aspects.jsonl and
    nli_triplets.jsonl in the same folder, and aspect_sentences.jsonl and listening_….jsonl, made of
    data/aspect_phrases.toml. Takes seconds.
    """
    from course_utils.training import crossing

    for name, n in crossing.write(folder, single, made).items():
        click.echo(f"{n} rows written to {folder / name}")


@data.command()
@click.argument("files", nargs=-1, type=PATH)
def check_pairs(files: Sequence[Path]) -> None:
    """Print every fault of files of minimal pairs.

    By default of data/minimal_pairs.jsonl. Writes nothing, takes a second. The exit code is 1 where there is a fault.
    """
    from course_utils.texts import minimal_pairs

    _tell_faults(files or [minimal_pairs.FILE], minimal_pairs.validate, minimal_pairs.summary)


@data.command()
@click.argument("files", nargs=-1, type=PATH)
def check_instructions(files: Sequence[Path]) -> None:
    """Print every fault of files of instruction texts.

    By default of data/instruction_texts.jsonl. Writes nothing, takes a second. The exit code is 1 where there is a
    fault.
    """
    from course_utils.texts import instruction_texts

    _tell_faults(files or [instruction_texts.FILE], instruction_texts.faults, instruction_texts.summary)


@data.command()
@click.argument("files", nargs=-1, type=PATH)
def check_parallel(files: Sequence[Path]) -> None:
    """Print every fault of files of parallel sentences.

    By default of data/parallel.jsonl. Writes nothing, takes a second. The exit code is 1 where there is a fault.
    """
    from course_utils.texts import parallel

    _tell_faults(files or [parallel.FILE], parallel.problems, parallel.summary)


@data.command()
@click.option("--adapters", type=PATH, required=True, help="Folder with the adapters of lesson 06's runs.")
@click.option("--shared-layers", type=click.IntRange(min=1), help="Lower layers that the runs share, computed once.")
@click.argument("names", nargs=-1)
def sealed_embed(adapters: Path, shared_layers: int | None, names: Sequence[str]) -> None:
    """Embed lesson 06's sealed texts with NAMES, by default all.

    Looks at no label. Writes data/arrays/sealed/NAME.safetensors, and data/listening_runs.json from the runs' logs.
    Takes about ten minutes on two cores.
    """
    from course_utils.training import sealed

    sealed.embed(adapters, names or sealed.NAMES, click.echo, shared_layers)
    sealed.keep_logs(adapters)


@data.command()
@click.option("--data", "folder", type=PATH, required=True, help="Folder of the training data.")
def sealed_overlap(folder: Path) -> None:
    """Say what lesson 06's sealed texts share with training data.

    Writes data/sealed_overlap.json. Takes about a minute.
    """
    from course_utils.training import overlap

    for name, found in overlap.write(folder).items():
        click.echo(f"{name}: {found['runs']} texts share eight consecutive words")


@data.command()
@click.option("--again", help="Why the texts are measured a second time; the log keeps the reason and both results.")
def sealed_measure(again: str | None) -> None:
    """Measure lesson 06's sealed texts, once.

    Compares clusters with labels. Writes data/sealed_measurement.json, and refuses where it is there already. Takes a
    minute.
    """
    from course_utils.training import sealed

    for name, found in sealed.measure(reason=again)["embedders"].items():
        click.echo(f"{name}: " + ", ".join(f"{aspect} {each['all']['verdict']}" for aspect, each in found.items()))


def _tell_faults(files: Sequence[Path], faults: Callable[[Path], list[str]], summary: Callable[[Path], str]) -> None:
    """Print the faults of every file, or what it holds where it is sound; exit code 1 where there is any."""
    from course_utils import gates

    wrong = False
    for file in map(gates.file, files):
        if found := faults(file):
            click.echo("\n".join(found))
            wrong = True
        else:
            click.echo(f"{file.name}: {summary(file)}")
    raise SystemExit(int(wrong))


# --- Measurements behind lessons ----------------------------------------------------------------


@click.group()
def study() -> None:
    """Measure again what lessons quote."""


@study.command()
@click.argument("names", nargs=-1)
@click.option("--data", type=PATH, help="Folder with nli_triplets.jsonl and question_passage.jsonl.")
@click.option("--lists", type=PATH, help="Folder with four more word lists; see data/README.md.")
@click.option("--seeds", type=click.IntRange(min=0), multiple=True, default=(1, 2, 3), show_default=True)
@click.option("--work", type=PATH, default=Path("runs/data"), show_default=True, help="Folder of the single logs.")
def runs(names: Sequence[str], seeds: Sequence[int], **options: object) -> None:
    """Train short runs that differ in their data only.

    All arms, or NAMES. Writes a log for every run and seed into WORK, no adapter, and all logs that are there into
    data/data_runs.json. A run that is there is kept, so the command goes on after a cut. A run takes three to four
    minutes on one core.
    """
    from course_utils.training import data_runs

    data_runs.run_all(names, seeds, report=click.echo, **options)
    click.echo(f"written to {data_runs.collect(options['work'], options['lists'])}")


@study.command()
@click.option("--lists", type=PATH, required=True, help="Folder with four more word lists; see data/README.md.")
def words(lists: Path) -> None:
    """Hold every embedder against every pair of word lists.

    Writes data/word_lists.json. Takes about a minute for each embedder.
    """
    from course_utils.shipped import preferences

    click.echo(f"written to {preferences.write(lists, report=click.echo)}")


@study.command()
@click.argument("names", nargs=-1)
@click.option("--data", type=PATH, help="Folder with nli_triplets.jsonl; without it only trained runs are measured.")
@click.option("--lists", type=PATH, help="Folder with four more word lists; see data/README.md.")
@click.option("--work", type=PATH, default=Path("runs/family_seeds"), show_default=True, help="Folder of the adapters.")
def seeds(names: Sequence[str], **options: object) -> None:
    """Train shipped recipes with other seeds.

    Those of smol-eol-cse and smol-sgpt-nli, or NAMES. Writes an adapter for every seed into WORK, and what lessons 03
    and 05 say of each into data/family_seeds.json. A run takes one or two minutes on a GPU, ten to
    twenty on two cores.
    """
    from course_utils.training import seeds as runs

    click.echo(f"written to {runs.run_all(names, report=click.echo, **options)}")


@study.command()
@click.option("--adapters", type=PATH, required=True, help="Folder of the adapters that had a teacher.")
@click.option("--sts", type=PATH, required=True, help="Judged sentence pairs (JSON Lines).")
def taught(adapters: Path, sts: Path) -> None:
    """Measure adapters that had a teacher.

    They were trained by the recipes in data/recipes/taught; the shipped ones of the same embedders are measured beside
    them. Writes data/taught.json. Takes two or three minutes for each adapter.
    """
    from course_utils.training import taught as measured

    click.echo(f"written to {measured.run_all(adapters, sts, report=click.echo)}")


@study.command()
@click.argument("names", nargs=-1)
def tokens(names: Sequence[str]) -> None:
    """Search documents that are written with K tokens.

    By default with the embedders whose retrieval arrays ship. Writes data/worth_tokens.json. Takes some minutes for
    each embedder.
    """
    from course_utils.shipped import worth
    from course_utils.training.cards import wikipedia_sample

    click.echo(f"written to {worth.write(wikipedia_sample(), names, report=click.echo)}")


@study.command()
@click.option("--data", type=PATH, required=True, help="Folder of the training data.")
@click.option("--out", type=PATH, default=Path("runs/splade"), show_default=True, help="Folder of the run.")
@click.option("--beir", "folders", type=(str, str), multiple=True, metavar="TITLE FOLDER", help="One more collection.")
@click.option(
    "--steps", type=click.IntRange(min=0), default=240, show_default=True, help="0: the head before training."
)
@click.option("--flops", type=float, nargs=2, default=(0.01, 0.003), show_default=True, help="λ of queries, documents.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
def splade(data: Path, out: Path, folders: Sequence[tuple[str, str]], **settings: object) -> None:
    """Train a sparse head and give collections their lists.

    The data are those of `several-tokens train smol-sgpt-qa`; the collections the Wikipedia sections of lesson 04 and
    those of --beir. Writes adapter, bias, log and one file of lists for each collection into OUT; what is there is
    kept. Takes about six minutes on a large GPU, and hours on two cores. `several-tokens search --lists OUT` compares.
    """
    from course_utils.texts import datasets, readers
    from course_utils.training import splade_run

    measured = {"Wikipedia sections": datasets.wikipedia_retrieval()}
    measured |= {title: readers.retrieval(folder) for title, folder in folders}
    splade_run.study(data, out, measured, splade_run.Settings(**settings), click.echo)

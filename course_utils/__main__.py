"""The one command line of the course: ``several-tokens COMMAND``, or ``python -m course_utils COMMAND``.

Here stand names, options and help; what a command does stands in the rooms, which are imported when it runs, so that
``--help`` answers at once. A wrong input ends in one line and exit code 1, a wrong option in exit code 2.
"""

from collections.abc import Sequence
from pathlib import Path

try:
    import click
except ModuleNotFoundError:  # nothing is installed yet; the check needs no package and says what to do
    from course_utils.models import check as machine

    raise SystemExit(0 if machine.report() else 1) from None

from course_utils.search.scale.commands import scale
from course_utils.training.commands import PATH, data, study

DTYPE = click.Choice(["float32", "bfloat16"])
PRECISION = click.Choice([*DTYPE.choices, "int8", "4bit"])


class Commands(click.Group):
    """A group that tells an error of ours in one line; a traceback is for our own mistakes."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever reads our output has gone; click ends quietly
        except Exception as error:
            if not _about_the_input(error):
                raise
            click.echo(f"{type(error).__name__}: {error}", err=True)
            ctx.exit(1)


def _about_the_input(error: Exception) -> bool:
    from course_utils.models.packages import StoreError

    return isinstance(error, (StoreError, ValueError, TypeError, ModuleNotFoundError, OSError))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="several-tokens")
def main() -> None:
    """The commands of the course.

    The lessons need `check` and `fetch` only; the others make what ships with the course again.
    """


# --- This machine ---------------------------------------------------------------------------------


@main.command()
@click.option("--brief", is_flag=True, help="One line per topic, the same on every machine that is ready.")
def check(brief: bool) -> None:
    """Say whether this machine is ready for the course.

    Looks at Python, packages, models, disk, memory and processor, and says what to do about what is missing. Fetches
    and writes nothing; takes a second. The exit code is 1 when something is missing.
    """
    from course_utils.models import check as machine

    ready = machine.report(brief)
    click.echo("Ready for the course." if ready else "Not ready: see [FAIL] above.")
    raise SystemExit(0 if ready else 1)


@main.command()
@click.argument("names", nargs=-1)
def fetch(names: Sequence[str]) -> None:
    """Fetch and verify the models NAMES, by default smollm2.

    Writes into a folder of your user account, or into COURSE_CACHE. smollm2 is a download of 93 MB and takes 0.55 GB on
    disk, gemma3 238 MB and 1.1 GB, minilm (lesson 10's guest, and a teacher in training) 84 MB and 0.1 GB; converting
    takes about a minute. What is there already is verified in seconds and built again where it is damaged.
    """
    from course_utils.models import store

    for name in names or ("smollm2",):
        click.echo(f"{name}: complete and verified in {store.repaired(name)}")


@main.command()
def workbook() -> None:
    """Make or update your own copies of the lessons.

    Writes workbook/: the lessons without outputs. What you have written there is never overwritten: a lesson that has
    changed arrives with your answers and notes, and your file from before is kept in workbook/older. Takes a second.
    """
    from course_utils.teaching import workbook

    raise SystemExit(int(bool(workbook.refresh(report=click.echo))))


@main.command()
def hours() -> None:
    """Print how long each lesson takes, and by which rule.

    Writes nothing, takes a second.
    """
    from course_utils.teaching import hours

    click.echo(hours.table())


# --- Adapters -------------------------------------------------------------------------------------


@main.command()
@click.argument("recipe")
@click.option("--data", type=PATH, required=True, help="Folder with the recipe's data files.")
@click.option("--out", type=PATH, help="The adapter goes to OUT/NAME; by default to data/adapters.")
@click.option("--work", type=PATH, default=Path("runs"), show_default=True, help="Checkpoints and logs while it runs.")
@click.option("--probe-pairs", type=PATH, help="Judged sentence pairs (JSON Lines) for the log.")
@click.option("--keep-out", type=PATH, multiple=True, help="A file whose texts must not be trained on; repeatable.")
@click.option("--dtype", type=DTYPE, help="Arithmetic of the frozen weights; by default the faster one here.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the layers (needs a C++ compiler).")
def train(recipe: str, **options: object) -> None:
    """Train an adapter by RECIPE.

    RECIPE is the name of one that ships, or a path to a .toml file. Writes adapter and training.json into OUT/NAME, a
    checkpoint every 20 steps into WORK/NAME: an interrupted run continues there. The recipes that ship took 10 to 80
    minutes each on two busy cores in bfloat16.
    """
    from course_utils.training.runs import train_recipe

    click.echo(f"adapter written to {train_recipe(recipe, **options)}")


@main.command()
@click.argument("names", nargs=-1)
@click.option("--data", type=PATH, required=True, help="Folder with the recipes' data files.")
@click.option("--out", type=PATH, help="The adapters go to OUT/NAME; by default to data/adapters.")
@click.option("--work", type=PATH, default=Path("runs"), show_default=True, help="Checkpoints and logs.")
@click.option("--probe-pairs", type=PATH, help="Judged sentence pairs (JSON Lines) for the logs.")
@click.option("--keep-out", type=PATH, multiple=True, help="A file whose texts must not be trained on; repeatable.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained and for how long; train nothing.")
def family(names: Sequence[str], data: Path, **options: object) -> None:
    """Train all adapters, or those NAMES, one after the other.

    Writes what `train` writes, and WORK/NAME.log for each. An adapter that today's recipe has made is kept, an
    interrupted run goes on: give the same command again after a cut. The whole family takes some hours on two busy
    cores, a small part of that on a GPU.
    """
    from course_utils.training.family import train_family

    train_family(data, names, report=click.echo, **options)


@main.command()
@click.argument("names", nargs=-1)
@click.option("--seeds", type=click.IntRange(min=0), multiple=True, default=(1,), show_default=True, help="Repeatable.")
@click.option("--work", type=PATH, default=Path("runs/causes"), show_default=True, help="Folder of the logs.")
@click.option("--sts", type=PATH, help="Judged sentence pairs (JSON Lines): the logs then have their correlation.")
@click.option("--out", type=PATH, help="Put all finished runs of WORK into this file as well.")
@click.option("--data", type=PATH, help="Folder with nli_triplets.jsonl, to train on it and not on the course's own.")
@click.option("--steps", type=click.IntRange(min=1), default=30, show_default=True, help="How long a run is.")
def causes(names: Sequence[str], seeds: Sequence[int], **options: object) -> None:
    """Train short runs that differ in one thing, all or NAMES.

    They ask why the first component moves; those of lesson 09a with a teacher run only where they are named. Writes a
    log for every run and seed into WORK, no adapter; finished ones are kept. A run takes minutes on one core.
    """
    from course_utils.training.causes import run_all

    run_all(names, seeds, report=click.echo, **options)


@main.command()
@click.argument("name")
@click.option("--training", required=True, help="How the adapter was trained, in words.")
@click.option("--kept", required=True, help="Whether it is kept, and why, in words.")
@click.option("--adapter", type=PATH, help="Its folder, if not the one that ships.")
@click.option("--sts", type=PATH, help="Judged sentence pairs (JSON Lines: sentence1, sentence2, score).")
@click.option("--beir", "collections", type=PATH, multiple=True, help="A collection in BEIR layout; repeatable.")
@click.option("--words", type=PATH, multiple=True, help="Judged word pairs (word1, word2, score); repeatable.")
@click.option("--dtype", type=DTYPE, default="bfloat16", show_default=True)
def dev(name: str, training: str, kept: str, **options: object) -> None:
    """Score the embedder NAME on data for development.

    Writes a row into data/adapters/tried.jsonl. Takes a minute for pairs, some minutes for a thousand documents.
    """
    from course_utils.training.family import dev

    for key, value in dev(name, training, kept, **options).items():
        click.echo(f"{key}: {value:.3f}")


@main.command()
@click.argument("name", required=False)
@click.option("--sts", type=PATH, help="Judged sentence pairs (JSON Lines: sentence1, sentence2, score).")
@click.option("--beir", type=PATH, help="A test collection in BEIR layout, for instance Cranfield.")
@click.option("--dtype", type=DTYPE, default="float32", show_default=True)
@click.option("--retrieval-dtype", type=DTYPE, default="float32", show_default=True)
@click.option("--other-seed", "seeds", type=PATH, multiple=True, help="Folder of another seed's adapter; repeatable.")
@click.option("--alignment-only", is_flag=True, help="Measure the alignment again, keep the other scores.")
@click.option("--text-only", is_flag=True, help="Measure nothing: write the card again from scores.json.")
def card(
    name: str | None,
    sts: Path | None,
    beir: Path | None,
    dtype: str,
    retrieval_dtype: str,
    seeds: Sequence[Path],
    alignment_only: bool,
    text_only: bool,
) -> None:
    """Measure the adapter NAME and write its card.

    Writes scores.json and README.md into data/adapters/NAME; without NAME, the table of all adapters, which is
    data/adapters/README.md. The alignment takes a minute or two, retrieval about a quarter of an hour (it is kept in
    the cache, so a cut run goes on), the text no time. With --other-seed only the adapters named there are
    measured, on the pairs of --sts; the other scores stay.
    """
    import json

    from course_utils.training import cards

    if seeds and (not name or not sts or beir or alignment_only or text_only):
        raise click.UsageError("--other-seed needs NAME and --sts, and goes with nothing else")
    if name is None:
        click.echo(f"written to {cards.write_overview()}")
        return
    scores = None
    if seeds:
        scores = cards.other_seeds(name, seeds, sts)
    elif alignment_only:
        scores = cards.remeasured(name)
    elif not text_only:
        scores = cards.measure(name, sts, beir, dtype, retrieval_dtype)
    path = cards.write_card(name, scores)
    click.echo(json.dumps(scores, indent=1) if scores else f"written to {path}")


# --- Numbers that ship ----------------------------------------------------------------------------


@main.command()
@click.argument("names", nargs=-1)
@click.option("--kind", "kinds", multiple=True, help="Only arrays of this kind; repeatable. By default all kinds.")
@click.option("--dtype", type=DTYPE, default="float32", show_default=True)
def arrays(names: Sequence[str], kinds: Sequence[str], dtype: str) -> None:
    """Make the embeddings that ship with the course.

    Makes what is missing or stale, or those of the embedders NAMES again. The kinds are sentences, parallel, native,
    instructions, judged, pairs and retrieval. Writes data/arrays/KIND/NAME.safetensors. Takes seconds to see that
    nothing is stale, one to three minutes an embedder, a quarter of an hour for one of the kind retrieval (which is
    kept in the cache, so a cut run goes on).
    """
    from course_utils.shipped import arrays as shipped

    shipped.make_stale(kinds, names, dtype, report=click.echo)


@main.command()
@click.argument("name")
@click.option("--origin", help="The untrained model it was made from, where the registry does not know it.")
@click.option("--backbone", type=PATH, help="Folder with the weights, if not the one that NAME stands for.")
@click.option("--texts", type=PATH, help="A file with one text a line; by default 200 Wikipedia sentences.")
@click.option("--role", type=click.Choice(["query", "passage"]), help="For embedders that mark the two.")
@click.option("--out", type=PATH, help="Write the card as JSON as well.")
@click.option("--dtype", type=PRECISION, default="float32", show_default=True, help="int8 and 4bit need bitsandbytes.")
@click.option("--device", help="cpu, cuda …; auto: spread over all GPUs. By default a GPU if there is one.")
def audit(name: str, **options: object) -> None:
    """Print the card of the embedder NAME: does it align?

    NAME is one of the course, a hub id, or a folder. The card holds alignment beside chance, the first component's
    share, the same after half or all of it is taken away, v_1 beside a random rotation where the origin is known, and
    ten sentences with their tokens. Writes nothing unless --out is given. Takes one to three minutes on two cores for
    the embedders of the course; `several-tokens scale estimate NAME` says what a large model takes.
    """
    from course_utils.shipped import audit as audits

    audits.run(name, report=click.echo, **options)


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--beir", "folder", help="Folder with corpus.jsonl, queries.jsonl, qrels/; or a hub id.")
@click.option("--title", required=True, help="The collection's name in the table.")
@click.option("--split", default="test", show_default=True, help="Which judgements.")
@click.option("--dtype", type=DTYPE, default="float32", show_default=True)
@click.option("--ignore-identical-ids", is_flag=True, help="No document answers the query of its own id (ArguAna).")
@click.option("--lists", type=PATH, help="Folder of `study splade`: its lists beside aligned tokens instead.")
def search(names: Sequence[str], folder: str | None, title: str, lists: Path | None, **options: object) -> None:
    """Score the embedders NAMES on a test collection.

    The collection is in BEIR layout; without --beir it is the Wikipedia sections of lesson 04. Settings of both sides
    are chosen on one half of the queries, all systems of the lesson are scored on the other. Writes a row into
    data/retrieval_results.json for each embedder, with --lists one into data/splade_run.json. Says first how long
    1 000 documents take here, ten minutes or so with two cores (what was encoded stays in the cache).
    """
    from course_utils.search import results, trained

    of_lists = {} if lists is None else {"lists": lists}
    (trained if of_lists else results).score(names, folder, title, report=click.echo, **of_lists, **options)


@main.command()
def site_data() -> None:
    """Make the numbers of the figure on the site's first page.

    Writes data/landing.json: for each sentence of data/landing_sentences.txt the tokens that a step along the first
    component can bring out, as `make site` shows them. Takes about a minute.
    """
    from course_utils.teaching.explorers import landing

    click.echo(f"written to {landing.write(click.echo)}")


main.add_command(scale)


@main.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, help="Table as CSV, one line an exercise.")
@click.option("--json", "json_file", type=PATH, help="The same as JSON, with each file's sum.")
@click.option("--cell-seconds", type=float, default=300, show_default=True, help="What one cell may take.")
@click.option("--seconds", type=float, default=1800, show_default=True, help="What a notebook may take.")
@click.option("--memory", type=float, default=8, show_default=True, help="Address space in GB; held to on Linux.")
def grade(files: Sequence[Path], out: Path | None, json_file: Path | None, memory: float, **limits: float) -> None:
    """Grade the exercises in readers' notebooks FILES.

    Runs each notebook in a process of its own, within limits, and prints its points: one for each dot of an exercise's
    difficulty. Writes nothing unless --out or --json is given. A notebook takes as long as its lesson, one to three
    minutes. What is handed in is a program that runs with your rights: grade files of strangers in a container.
    """
    from course_utils.teaching import grading

    grading.writable(out, json_file)
    options = {"memory_gb": memory, "report": click.echo, "keep": lambda rows: grading.write(rows, out, json_file)}
    rows = grading.grade(files, **options, **limits)
    for row in [] if out or json_file else rows:
        click.echo(f"  {row.file}  {row.exercise:6} {row.points}/{row.of}  {row.status}: {row.explanation}")


@main.command()
@click.argument("seeds", nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="Folder to write to; a folder for every seed comes into it.")
@click.option("--lesson", "lessons", multiple=True, help="Only this lesson, such as 02; repeatable. By default all.")
@click.option("--solutions", is_flag=True, help="Also write the solutions that belong to them.")
def variants(seeds: Sequence[str], out: Path, lessons: Sequence[str], solutions: bool) -> None:
    """Write lessons whose exercises differ from seed to seed.

    Writes OUT/SEED/NAME-SEED.ipynb for every lesson, without outputs: the same exercises with other numbers or texts,
    so that no published solution answers them. `several-tokens grade` grades them. Takes a second for a seed.
    """
    from course_utils.teaching.grading import copies

    copies.write(seeds, out, lessons, solutions, click.echo)


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="Course directory of nbgrader.")
@click.option("--assignment", required=True, help="Name of the assignment.")
@click.option("--seed", help="The exercises as a reader with this seed has them; by default as published.")
@click.option("--seconds", type=click.IntRange(min=1), default=300, show_default=True, help="What a cell may take.")
def nbgrader(names: Sequence[str], out: Path, assignment: str, seed: str | None, seconds: int) -> None:
    """Write the lessons NAMES as an assignment for nbgrader.

    Writes OUT/source/ASSIGNMENT/NAME.ipynb with solutions and hidden tests, which nbgrader takes out of the students'
    copies, and OUT/nbgrader_config.py if there is none. NAME is a file's, such as 02_alignment_phenomenon. Takes a
    second.
    """
    from course_utils.teaching.grading import nbgrader as export

    export.export(names, out, assignment, seed, seconds, click.echo)


@main.command()
@click.argument("names", nargs=-1)
@click.option("--out", type=PATH, help="Also write the notebooks of excerpts, without outputs, such as to workbook.")
def path(names: Sequence[str], out: Path | None) -> None:
    """Print ways through the course for classes, all or NAMES.

    A path is made of whole lessons and of excerpts, with minutes by the rule of `hours`; data/paths.toml says which.
    Writes nothing unless --out is given: then the excerpts as notebooks, one for each sitting; whole lessons are those
    of the workbook. Takes a few seconds.
    """
    from course_utils.teaching import paths

    for name in names or paths.paths():
        click.echo(paths.plan(paths.find(name)))
        for place in paths.write(paths.find(name), out) if out else []:
            click.echo(f"  written: {place}")


main.add_command(data)
main.add_command(study)

if __name__ == "__main__":
    main(prog_name="several-tokens")

"""Public training data: the sets that the paper's embedders were trained on, in the form the recipes read.

    several-tokens data public --out FOLDER                     # from the hub
    several-tokens data public --out FOLDER --copy MIRROR       # from a local copy of it
    several-tokens train smol-sgpt-nli --data FOLDER

The shipped adapters were trained on small subsets. With a hub within reach the same recipes
train on the full public sets: this module writes their rows into files of the recipes' names.
Needs the package ``datasets`` (``pip install '.[hub]'``).
"""

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm.auto import tqdm

from course_utils.training.recipes import write_rows


@dataclass(frozen=True)
class Source:
    """Where a recipe's file can come from.

    Attributes:
        hub_id, table, split: as the package ``datasets`` names them.
        columns: ``{column there: key in the recipe's file}``.
        licence: under which the set is published.
    """

    hub_id: str
    table: str
    split: str
    columns: Mapping[str, str]
    licence: str


SOURCES = {
    # SNLI and MultiNLI as (premise, entailed, contradicted), the training data of SGPT-nli and PromptEOL+CSE
    "nli_triplets.jsonl": Source(
        "sentence-transformers/all-nli",
        "triplet",
        "train",
        {"anchor": "anchor", "positive": "positive", "negative": "negative"},
        "SNLI: CC BY-SA 4.0; MultiNLI: OANC and others",
    ),
    # MS MARCO passages with negatives found by BM25, the training data of SGPT-msmarco
    "question_passage.jsonl": Source(
        "sentence-transformers/msmarco-bm25",
        "triplet",
        "train",
        {"query": "query", "positive": "positive", "negative": "negative"},
        "MS MARCO: non-commercial research",
    ),
}


def rows(source: Source, copy: Path | None = None) -> Iterator[dict[str, str]]:
    """Rows of a public set, with the recipe's keys.

    Args:
        source: an entry of :data:`SOURCES`.
        copy: a folder that holds the data set's files as the hub does: ``HUB_ID/TABLE/SPLIT-*.parquet``.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ConnectionError: what is missing, and what to do.
        ValueError: a row without one of the columns, or with an empty text; the message names it.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise ModuleNotFoundError("this needs the package datasets: pip install '.[hub]'") from None
    if copy is not None:
        pattern = f"{source.split}-*.parquet"
        # The package takes names for patterns: a folder called "[copy]" would match another one.
        files = sorted(glob.escape(str(f)) for f in (copy / source.hub_id / source.table).glob(pattern))
        if not files:
            raise FileNotFoundError(f"no {pattern} in {copy / source.hub_id / source.table}")
        table = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    else:
        try:
            table = datasets.load_dataset(source.hub_id, source.table, split=source.split, streaming=True)
        except (OSError, ValueError, RuntimeError) as error:  # what the package raises for network and names
            raise ConnectionError(
                f"could not load {source.hub_id} from the hub ({type(error).__name__}: {str(error)[:200]}). "
                "Without a hub, give the folder of a copy with --copy"
            ) from None
    for number, row in enumerate(table, 1):
        for column in source.columns:
            if not isinstance(row.get(column), str) or not row[column].strip():
                raise ValueError(f"{source.hub_id}, row {number}: no text in {column!r}; it has {', '.join(row)}")
        yield {key: row[column] for column, key in source.columns.items()}


def write(file: str, folder: Path, limit: int | None = None, copy: Path | None = None) -> int:
    """Write the first ``limit`` rows (or all) as ``folder/file``, atomically; return how many.

    Raises:
        ValueError: no such file among :data:`SOURCES`; others as :func:`rows`.
    """
    if file not in SOURCES:
        raise ValueError(f"no public set for {file!r}; choose from {', '.join(SOURCES)}")
    limited = islice(rows(SOURCES[file], copy), limit)
    return write_rows(folder / file, tqdm(limited, desc=file, total=limit, unit=" rows"))

"""The commands ``several-tokens scale …``: names, options and help; the work stands in the modules beside this one."""

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.group()
def scale() -> None:
    """Encode, index and hand over a collection of any size."""


@scale.command()
@click.option("--beir", type=PATH, required=True, help="Folder with corpus.jsonl in BEIR layout.")
@click.option("--embedder", required=True, help="A name of the registry, a hub id, or a folder.")
@click.option("--out", type=PATH, required=True, help="Folder of the shards.")
@click.option("--address", help="A Ray cluster: auto, or HOST:PORT. By default this machine.")
@click.option("--workers", type=click.IntRange(min=1), help="By default one for every GPU, or --threads cores.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of one worker, and cores.")
@click.option("--rows-per-shard", type=click.IntRange(min=1), default=1024, show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="By default GPUs if there are any.")
@click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens in a batch, padding included.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="Longer texts are cut.")
def encode(beir: Path, embedder: str, out: Path, **options: object) -> None:
    """Embed a corpus on all cores, or on a cluster.

    Writes OUT/manifest.json and OUT/shard-00000.safetensors and so on. What is there is kept: give the same command
    again after a cut. Needs Ray: pip install "several-tokens[scale]". A thousand paragraphs take some minutes on two
    cores, some seconds on a GPU.
    """
    from course_utils.search.scale import encode as encoding

    try:
        made = encoding.encode(beir, embedder, out, report=click.echo, **options)
    except RuntimeError as error:  # of Ray and its workers, not of ours
        raise click.ClickException(str(error)) from None
    click.echo(f"{made.rows} embeddings in {made.folder}")


@scale.command()
@click.option("--shards", type=PATH, required=True, help="Folder that scale encode has written.")
@click.option("--out", type=PATH, required=True, help="Folder of the parts.")
@click.option("--k", type=click.IntRange(min=1), default=512, show_default=True, help="Aligned tokens of a document.")
@click.option("--share", type=float, default=1.0, show_default=True, help="Part of the first component taken away.")
@click.option("--log1p/--no-log1p", default=True, show_default=True, help="Weights log(1 + logit).")
def build(shards: Path, out: Path, k: int, share: float, log1p: bool) -> None:
    """Turn embeddings into weighted tokens, shard by shard.

    Writes OUT/manifest.json and OUT/part-00000.safetensors and so on. What is there is kept: give the same command
    again after a cut. Takes a few seconds for a thousand documents.
    """
    from course_utils.search.scale import build as building

    building.build_named(shards, out, k, share=share, log1p=log1p, report=click.echo)


@scale.command()
@click.option("--parts", type=PATH, required=True, help="Folder that scale build has written.")
@click.option("--to", "location", required=True, help="A Qdrant server, HOST:PORT or its URL; or a folder.")
@click.option("--collection", default="documents", show_default=True, help="Its name.")
def upload(parts: Path, location: str, collection: str) -> None:
    """Fill a collection of Qdrant.

    Writes into the server or the folder; a key for the server is read from QDRANT_API_KEY. Requests that fail are sent
    again, later and later; what is there is kept: give the same command again after a cut. Takes a few seconds for a
    thousand documents.
    """
    import os

    from course_utils.search import engines
    from course_utils.search.scale import handover

    key = os.environ.get("QDRANT_API_KEY")
    client = engines.qdrant_client(location, **({"api_key": key} if key else {}))
    try:
        done = handover.upload(parts, client, collection=collection, report=click.echo)
    finally:
        client.close()
    click.echo(f"{done.sent} sent, {done.there} were there, {done.again} requests sent again")


@scale.command()
@click.option("--parts", type=PATH, required=True, help="Folder that scale build has written.")
@click.option("--out", type=PATH, required=True, help="An empty folder.")
@click.option("--form", type=click.Choice(["anserini", "opensearch"]), required=True)
def export(parts: Path, out: Path, form: str) -> None:
    """Write weighted tokens for another search engine.

    Writes one file for each part into OUT, for OpenSearch a mapping besides. Takes some seconds for a thousand
    documents.
    """
    from course_utils.search.scale import handover

    files = handover.export_named(parts, out, form, report=click.echo)
    click.echo(f"{len(files)} files written to {out}")


@scale.command()
@click.option("--documents", type=click.IntRange(min=1), required=True, help="How many.")
@click.option("--embedder", default="smollm2", show_default=True, help="A name of the registry.")
@click.option("--tokens", type=float, default=100, show_default=True, help="In a document.")
@click.option("--k", type=click.IntRange(min=1), default=128, show_default=True, help="Aligned tokens of a document.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Of one core each.")
@click.option("--core-hour", type=float, help="Price; by default one that we assumed.")
def cost(documents: int, embedder: str, core_hour: float | None, **plan: float) -> None:
    """Estimate time, memory and money of a collection.

    Uses the rates in data/scale_measured.json; says what is measured and what is extrapolated. Writes nothing, takes a
    second.
    """
    from course_utils.search.scale import costs

    costs.tell(embedder, costs.Plan(documents, **plan), core_hour, click.echo)


@scale.command()
@click.argument("name")
@click.option("--texts", type=click.IntRange(min=1), default=200, show_default=True, help="To encode and decode.")
@click.option("--tokens", type=float, default=40, show_default=True, help="In a text, prompt included.")
@click.option("--tflops", type=float, default=100, show_default=True, help="10¹² operations a second; an assumption.")
def estimate(name: str, texts: int, tokens: float, tflops: float) -> None:
    """Say what the embedder NAME needs, before any download.

    Counts from the published numbers of its architecture. Writes nothing, takes a second.
    """
    from course_utils.search.scale import estimate as estimating

    estimating.tell(name, texts, tokens, tflops, click.echo)


@scale.command()
@click.option("--out", type=PATH, help="By default data/scale_measured.json.")
def measure(out: Path | None) -> None:
    """Measure how fast this machine encodes.

    Writes the rates of two embedders and of single blocks of larger models, one thread and all threads, into
    data/scale_measured.json. Takes about five minutes on two cores that do nothing else.
    """
    from course_utils.search.scale import measured

    click.echo(f"written to {measured.write(measured.measure(report=click.echo), out)}")

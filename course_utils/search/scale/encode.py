"""Encode: the documents of a large corpus, by several workers at once, on this machine or on a cluster.

    several-tokens scale encode --beir FOLDER --embedder NAME --out FOLDER

The work is a Ray Data pipeline over numbers of shards: each worker is an actor that loads the model once, reads the
documents of a shard from the file, encodes them, writes the shard itself, and returns a line of statistics. Ray Data
hands out the work, starts workers again that were lost, and gives their work to others; what it would write itself has
names and sizes that depend on the run, so it does not write. With one shard as the unit of work and of the disk,
"what is left to do" is the list of files that are not there: a run that was cut, however, goes on with the same
command, and loses at most the shards that were being made.

The bits of a shard do not depend on the number of workers: one shard is one call of ``Embedder.encode``, so its batches
are always the same. In the last place they depend on the machine and on the threads of a worker, as all products of
matrices do; so a worker has one thread unless you say otherwise.

On a cluster, all nodes must see the folder of the corpus and of the shards under the same path, and have the course,
the weights, and Ray installed. A node with other weights is noticed: the checksums are compared on every worker.
"""

import errno as errors
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from course_utils import gates
from course_utils.models import registry
from course_utils.models.registry import EmbedderSpec
from course_utils.search.scale import cluster, corpus, shards

#: Bytes that a worker holds besides the weights: Python, PyTorch and a batch.
PROCESS = 2**29
#: Documents in a shard: a minute of one core, a second of a GPU.
ROWS_PER_SHARD = 1024
#: Tokens in a batch on a GPU; on a processor ``Embedder.encode`` has its own.
GPU_BATCH_TOKENS = 16_384
#: Seconds between two lines of progress.
EVERY = 5.0
#: How often workers may be lost before the run gives up: Ray itself would start them again for ever.
LOST = 50
#: Blocks of work that Ray Data keeps account of; with more shards than that, a block holds several.
BLOCKS = 5000
LOCK = ".lock"
#: A file for every process that has begun to work for a run.
STARTED = ".started-"
#: What the documents are to an embedder that marks queries and passages.
ROLE = "passage"


class Finished(NamedTuple):
    """A shard that was made: its number and rows, the seconds for encoding it, and who made it.

    ``memory`` is the most that the worker's process has held so far, in bytes (0 where the system does not tell).
    """

    number: int
    rows: int
    seconds: float
    pid: int
    node: str
    memory: int


class Encoded(NamedTuple):
    """What a run did: folder, documents of the corpus, those made in this run, its seconds, the shards it made.

    ``rate`` is documents a second from the start of the first shard on: without the start of Ray and the loading.
    """

    folder: Path
    rows: int
    made: int
    seconds: float
    shards: list[Finished]
    rate: float


class Crew(NamedTuple):
    """Workers: how many, on what (``"cpu"`` or ``"cuda"``), and the threads of each."""

    workers: int
    device: str
    threads: int


class Job(NamedTuple):
    """What every worker is told: the embedder and its checksums, the files, what ``Embedder.encode`` gets, its crew.

    ``manifest`` is the checksum of the folder's manifest when the run began.
    """

    spec: EmbedderSpec
    changes: Mapping[str, object]
    identity: Mapping[str, str]
    source: Path
    out: Path
    options: Mapping[str, object]
    dtype: str
    crew: Crew
    manifest: str


def encode(
    folder: Path | str,
    embedder: str | Path,
    out: Path | str,
    *,
    address: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    rows_per_shard: int = ROWS_PER_SHARD,
    dtype: str = "float32",
    device: str | None = None,
    batch_tokens: int | None = None,
    max_tokens: int = 512,
    report: Callable[[str], object] = print,
    watch: Callable[[Finished], object] | None = None,
    **changes,
) -> Encoded:
    """Embed the documents of a corpus into a folder of shards (:mod:`course_utils.search.scale.shards`).

    Shards that are there and whole are kept. A Ray that runs in this process already is used and left running;
    otherwise one is started on this machine, without a dashboard, and stopped at the end.

    Args:
        folder: with ``corpus.jsonl`` in BEIR layout.
        embedder: as :func:`course_utils.models.embedder.load` takes it.
        out: folder of the shards.
        address: ``"auto"`` for the cluster that this machine belongs to, or ``HOST:PORT`` of one.
        workers: by default one for every GPU, or for every ``threads`` cores where there is none; fewer where memory
            would not do, as each holds the model.
        threads: of one worker, which takes as many cores. With few workers and many cores give more; the last place
            of the numbers may change.
        rows_per_shard: documents in a shard.
        dtype: ``"float32"`` or ``"bfloat16"``; the shards hold float32 in both cases.
        device: ``"cpu"`` or ``"cuda"``; by default GPUs if Ray knows of any.
        batch_tokens, max_tokens: as :meth:`course_utils.models.embedder.Embedder.encode` takes them.
        report: called with a line of progress every few seconds, and at the end.
        watch: called with every shard that was made.
        changes: fields of the registry entry to change.

    Raises:
        ModuleNotFoundError: Ray is not installed; says how to.
        FileNotFoundError, ValueError: a corpus or an embedder that is not there or not valid, a folder that was made
            from something else, a damaged shard, another run that writes into the same folder.
        OSError: for instance a full disk. What is done is kept.
        RuntimeError: workers that were lost again and again, or Ray itself.
        ConnectionError: no cluster at that address.
    """
    ray = cluster.package()
    spec, out = registry.get(embedder, **changes), gates.expanded(out, "out").absolute()
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype must be 'float32' or 'bfloat16'; got {dtype!r}")
    per_shard, longest = gates.whole(rows_per_shard, "rows_per_shard"), gates.whole(max_tokens, "max_tokens")
    who = shards.identity(spec)
    found = corpus.scan(gates.expanded(folder, "folder").absolute(), per_shard)
    made_from = {**who, "texts": found.digest, "role": ROLE, "dtype": dtype, "max_tokens": longest}
    needed = gates.whole(threads, "threads") * (1 if workers is None else gates.whole(workers, "workers"))
    with _alone(out):  # before the manifest: two runs that start at once must not both write one
        shards.write_manifest(out, made_from, found.rows, per_shard)
        _sweep(out)  # after the manifest: a folder of something else is left alone
        todo = shards.missing(out)
        _tell_the_plan(report, found, len(todo))
        if not todo:
            return Encoded(out, found.rows, 0, 0.0, [], 0.0)
        with cluster.running(address, needed):
            crew = _crew(ray, spec, workers, threads, device, len(todo))
            report(f"{crew.workers} worker(s) on {crew.device}, {crew.threads} thread(s) each")
            options = {"max_tokens": longest, **_batch(batch_tokens, crew.device)}
            job = Job(spec, changes, who, found.path, out, options, dtype, crew, shards.manifest_digest(out))
            progress = _Progress(report, sum(min(per_shard, found.rows - n * per_shard) for n in todo))
            for finished in _work(ray, job, {n: found.pieces[n] for n in todo}):
                progress.add(finished)
                if watch:
                    watch(finished)
        if left := shards.missing(out):
            raise RuntimeError(f"{len(left)} shards were not made, the first is {shards.name(left[0])}; run again")
    return progress.end(out, found.rows)


# --- Workers --------------------------------------------------------------------------------------


class Worker:
    """An actor: loads the model at its first shard, then makes one shard after the other.

    What goes wrong with a shard is returned and not raised: Ray would do the same work again on an error that will not
    pass, and wrap it into one of its own.
    """

    def __init__(self, job: Job):
        self.job, self.embedder = job, None

    def __call__(self, batch: dict) -> dict:
        rows = zip(*(batch[key].tolist() for key in ("number", *corpus.Piece._fields)), strict=True)
        return {"made": [json.dumps(self._make(number, corpus.Piece(*piece))) for number, *piece in rows]}

    def _make(self, number: int, piece: corpus.Piece) -> dict:
        job = self.job
        try:
            # Ray gives a block of several shards away as a whole when a worker is lost: some of them may be there.
            if shards.is_there(job.out, number):
                rows = shards.header(job.out, number).rows
                return Finished(number, rows, 0.0, os.getpid(), _node(), _memory())._asdict()
            embedder = self._loaded()
            ids, texts = corpus.read(job.source, piece)
            start = time.perf_counter()
            embeddings = embedder.encode(texts, None, ROLE, progress=False, **job.options)
            seconds = time.perf_counter() - start
            shards.write(job.out, number, ids, embeddings, job.manifest)
        except Exception as error:
            kind = next((name for name, kind in _KINDS.items() if isinstance(error, kind)), "RuntimeError")
            said = str(error) if kind in _KINDS else repr(error)
            return {"kind": kind, "said": f"{shards.name(number)}: {said}", "errno": getattr(error, "errno", None)}
        return Finished(number, len(ids), seconds, os.getpid(), _node(), _memory())._asdict()

    def _loaded(self):
        """The embedder; at the first call it is read from the disk, if it is the one that the run was started with."""
        if self.embedder is None:
            import torch

            from course_utils.models.embedder import load

            job = self.job
            _count(job)
            torch.set_num_threads(job.crew.threads)
            here = shards.identity(job.spec)
            if differs := [what for key, what in shards.SOURCES.items() if here.get(key) != job.identity.get(key)]:
                raise ValueError(f"on the node {_node()}, {differs[0]} differs from what the run was started with")
            self.embedder = load(job.spec.name, dtype=job.dtype, device=job.crew.device, **job.changes)
        return self.embedder


def _count(job: Job) -> None:
    """Leave a mark of this process, and see how many there were before it."""
    Path(job.out, f"{STARTED}{_node()}-{os.getpid()}").touch()
    lost = len(list(job.out.glob(f"{STARTED}*"))) - job.crew.workers
    if lost > LOST:
        raise RuntimeError(f"workers were lost {lost} times; perhaps memory ran out: give fewer of them")


#: Errors that a worker tells by name, the most special first.
_KINDS = {
    kind.__name__: kind
    for kind in (FileNotFoundError, OSError, ValueError, TypeError, ModuleNotFoundError, RuntimeError)
}


def _node() -> str:
    import ray

    return ray.get_runtime_context().get_node_id()[:8]


def _memory() -> int:
    """The most bytes that this process has held; 0 where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# --- The run --------------------------------------------------------------------------------------


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """The folder for one run; at the end what lost workers have left half-written is removed."""
    from filelock import FileLock, Timeout

    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another run writes into {out}; wait for it, or give another folder") from None
    try:
        yield
        _sweep(out)
    finally:
        lock.release()


def _sweep(out: Path) -> None:
    for pattern in (f"*{shards.PARTIAL}", f"{STARTED}*"):
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)


def _crew(ray, spec: EmbedderSpec, workers: int | None, threads: int, device: str | None, left: int) -> Crew:
    """How many workers of which kind; no more than there are shards left to make."""
    has = ray.cluster_resources()
    cores, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
    device = device or ("cuda" if gpus else "cpu")
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu' or 'cuda'; got {device!r}")
    if not (gpus if device == "cuda" else cores):
        raise ValueError(f"Ray has no {'GPU' if device == 'cuda' else 'core'} to work on; give another device")
    most, what = (gpus, "GPUs that Ray has") if device == "cuda" else (cores, "cores that Ray has")
    if device == "cpu" and threads > 1:
        most, what = cores // threads, f"workers of {threads} threads that Ray has cores for"
    if not most:
        raise ValueError(f"Ray has {cores} core(s), too few for a worker of {threads} threads; give fewer threads")
    if workers is None:
        room = int(has.get("memory", 0) // (shards.weight(spec) + PROCESS))
        workers = most if device == "cuda" else max(1, min(most, room))
    return Crew(min(gates.whole(workers, "workers", 1, most, what), left), device, threads)


def _batch(batch_tokens: int | None, device: str) -> dict[str, int]:
    if batch_tokens is not None:
        return {"batch_tokens": gates.whole(batch_tokens, "batch_tokens")}
    return {"batch_tokens": GPU_BATCH_TOKENS} if device == "cuda" else {}


def _work(ray, job: Job, todo: Mapping[int, corpus.Piece]) -> Iterator[Finished]:
    """Make shards; yields each one as it is made, in any order."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = context.enable_auto_log_stats = False
    rows = [{"number": number, **piece._asdict()} for number, piece in todo.items()]
    pipeline = ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS)).map_batches(
        Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=job.crew.workers, max_tasks_in_flight_per_actor=1),
        num_cpus=job.crew.threads,
        num_gpus=1 if job.crew.device == "cuda" else None,
    )
    try:
        for row in pipeline.iter_rows():
            made = json.loads(row["made"])
            if "kind" in made:
                raise _told(**made)
            yield Finished(**made)
    except ray.exceptions.RayError as error:
        said = f"{type(error).__name__}: {str(error).strip()[:300]}"
        raise RuntimeError(f"Ray gave up ({said}). What is done is kept; run again") from None


def _told(kind: str, said: str, errno: int | None) -> Exception:
    """The error of a worker, of its own kind."""
    made = _KINDS.get(kind, RuntimeError)
    first = "make room" if errno == errors.ENOSPC else "mend this"
    remedy = f". To go on, {first}, then run again; what is done is kept"
    return made(errno, said + remedy) if issubclass(made, OSError) and errno else made(said + remedy)


# --- Progress -------------------------------------------------------------------------------------


def _tell_the_plan(report: Callable[[str], object], found: corpus.Corpus, left: int) -> None:
    empty = f", {found.empty} empty ones left out" if found.empty else ""
    there = len(found.pieces) - left
    report(f"{found.rows} documents in {len(found.pieces)} shards{empty}; {there} shards are there, {left} to make")


class _Progress:
    """Counts documents, and says every few seconds how many a second there are and how long the rest will take."""

    def __init__(self, report: Callable[[str], object], total: int):
        self.report, self.total, self.done = report, total, 0
        self.made: list[Finished] = []
        self.started = self.told = time.monotonic()
        self.first = None

    def add(self, finished: Finished) -> None:
        now = time.monotonic()
        # Loading the model comes once and does not count towards the speed.
        self.first = now - finished.seconds if self.first is None else min(self.first, now - finished.seconds)
        self.made.append(finished)
        self.done += finished.rows
        if now - self.told >= EVERY and self.done < self.total:
            self.told = now
            rate = self.done / max(now - self.first, 1e-9)
            left = (self.total - self.done) / rate
            self.report(f"{self.done} of {self.total} documents, {rate:.1f} a second, about {left:.0f} s left")

    def end(self, out: Path, rows: int) -> Encoded:
        now = time.monotonic()
        rate = self.done / max(now - self.first, 1e-9)
        memory = max(f.memory for f in self.made) / 2**30
        held = f", at most {memory:.2f} GiB of memory in a worker" if memory else ""
        self.report(f"{self.done} documents in {now - self.started:.0f} s, {rate:.1f} a second while encoding{held}")
        return Encoded(out, rows, self.done, now - self.started, self.made, rate)

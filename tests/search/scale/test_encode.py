"""Encoding by several workers: the same bits whatever their number, whoever is killed, wherever they run."""

import errno
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tiny
import torch
from repo import ROOT

from course_utils.models.embedder import load
from course_utils.search.scale import cluster, corpus, encode, shards

ray = pytest.importorskip("ray")

ROWS, PER_SHARD = 170, 8
TEXTS = {f"d{i}": " ".join(tiny.SENTENCES[(i * j) % 9] for j in range(1 + i % 5)) + f" {i}" for i in range(ROWS)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny model and a corpus, and the embeddings that each shard must hold."""
    folder = tmp_path_factory.mktemp("scale")
    tiny.save(folder / "model", "llama")
    corpus.write(folder / "beir", TEXTS)
    return folder


@pytest.fixture(scope="module")
def expected(place):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    embedder, texts = load(place / "model", device="cpu"), list(TEXTS.values())
    whole = embedder.encode(texts, role="passage", progress=False)
    pieces = [embedder.encode(texts[i : i + PER_SHARD], role="passage") for i in range(0, ROWS, PER_SHARD)]
    torch.set_num_threads(before)
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=0, atol=1e-6)
    return np.concatenate(pieces)


@pytest.fixture(scope="class")
def three_cores(place):
    """Ray, started once for the tests that need nothing of their own; afterwards no process is left."""
    before = set(psutil.Process().children(recursive=True))
    with cluster.running(workers=3):
        yield
        crew = set(psutil.Process().children(recursive=True)) - before  # now: those that outlive us lose their parent
    assert len(crew) > 3
    left = gone(crew)
    assert not left, left


def gone(processes, seconds: float = 30) -> list[str]:
    """The names of those processes that are still there after so many seconds."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [p.name() for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def run(place, out, **options):
    lines = []
    options = {"workers": 2, "rows_per_shard": PER_SHARD, "device": "cpu", "report": lines.append, **options}
    return encode.encode(place / "beir", place / "model", out, **options), lines


def check(folder, expected):
    ids, rows = shards.load(folder)
    assert ids == list(TEXTS)
    np.testing.assert_array_equal(rows, expected)  # bit by bit
    assert {p.name for p in Path(folder).iterdir() if not p.name.startswith(".")} == {
        shards.MANIFEST,
        *map(shards.name, range(shards.manifest(folder)["shards"])),
    }


# With Ray ---------------------------------------------------------------------------------------------------------


class TestOnThreeCores:
    """One Ray for all of these; it ends with the class, before others start one of their own."""

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [1, 2, 3])
    def test_the_same_bits_whatever_the_number_of_workers(self, place, expected, three_cores, tmp_path, workers):
        made, lines = run(place, tmp_path / "out", workers=workers)
        check(made.folder, expected)
        assert made.rows == made.made == ROWS and sorted(f.number for f in made.shards) == list(range(22))
        assert len({f.pid for f in made.shards}) <= workers and os.getpid() not in {f.pid for f in made.shards}
        assert all(f.memory > 2**26 and f.seconds > 0 for f in made.shards)
        assert lines[0] == f"{ROWS} documents in 22 shards; 0 shards are there, 22 to make"
        assert lines[1] == f"{workers} worker(s) on cpu, 1 thread(s) each"
        assert lines[-1].startswith(f"{ROWS} documents in ") and "a second while encoding" in lines[-1]

        again, lines = run(place, tmp_path / "out", workers=workers)
        assert again.made == 0 and again.rows == ROWS
        assert lines == [f"{ROWS} documents in 22 shards; 22 shards are there, 0 to make"]

    @pytest.mark.slow
    def test_only_what_lacks_is_made(self, place, expected, three_cores, tmp_path):
        made, _ = run(place, tmp_path)
        kept = {n: (tmp_path / shards.name(n)).stat().st_mtime_ns for n in range(22)}
        for number in (3, 21):
            (tmp_path / shards.name(number)).unlink()
        (tmp_path / f"{shards.name(3)}.host.1{shards.PARTIAL}").write_bytes(b"half")
        again, _ = run(place, tmp_path)
        assert sorted(f.number for f in again.shards) == [3, 21] and again.made == PER_SHARD + ROWS % PER_SHARD
        check(tmp_path, expected)
        assert all((tmp_path / shards.name(n)).stat().st_mtime_ns == at for n, at in kept.items() if n not in (3, 21))

    @pytest.mark.slow
    def test_workers_that_are_killed_lose_and_duplicate_nothing(self, place, expected, three_cores, tmp_path):
        chance = random.Random(0)
        moments, seen, killed, timers = sorted(chance.sample(range(1, 14), 5)), [], [], []

        def kill(finished):
            seen.append(finished.number)
            due = sum(moment <= len(seen) for moment in moments)
            if len(killed) < due and finished.pid not in killed and psutil.pid_exists(finished.pid):
                killed.append(finished.pid)
                if timers:
                    psutil.Process(finished.pid).kill()
                else:  # the first one at any moment of its next work, not where a shard has just arrived
                    timers.append(threading.Timer(chance.uniform(0, 0.05), psutil.Process(finished.pid).kill))
                    timers[0].start()

        run(place, tmp_path, watch=kill)
        timers[0].join()
        # Nobody may have asked yet how a killed process ended: then its number is still there.
        assert len(killed) == 5 and not gone([psutil.Process(pid) for pid in killed if psutil.pid_exists(pid)])
        assert sorted(seen) == list(range(22))
        check(tmp_path, expected)

    @pytest.mark.slow
    def test_an_error_of_a_worker_arrives_as_what_it_is(self, place, three_cores, tmp_path):
        model = tiny.save(tmp_path / "model", "llama", bos=True)
        with pytest.raises(ValueError, match=r"shard-000\d\d\.safetensors: texts\[0\]: max_tokens=1 leaves no room"):
            encode.encode(place / "beir", model, tmp_path / "out", max_tokens=1, workers=1, device="cpu")

    @pytest.mark.slow
    def test_more_workers_than_cores_and_wrong_options_are_refused(self, place, three_cores, tmp_path):
        with pytest.raises(ValueError, match="workers must lie between 1 and the 3 cores that Ray has; got 4"):
            run(place, tmp_path / "a", workers=4)
        with pytest.raises(ValueError, match="Ray has no GPU to work on"):
            run(place, tmp_path / "b", device="cuda")
        with pytest.raises(ValueError, match="device must be 'cpu' or 'cuda'"):
            run(place, tmp_path / "c", device="tpu")
        with pytest.raises(ValueError, match="workers must lie between 1 and the 1 workers of 2 threads"):
            run(place, tmp_path / "d", workers=2, threads=2)
        with pytest.raises(ValueError, match="too few for a worker of 4 threads; give fewer threads"):
            run(place, tmp_path / "e", workers=None, threads=4)


DRIVER = "import sys; from course_utils.search.scale.encode import encode; encode(*sys.argv[1:4], workers=2, "
DRIVER += f"rows_per_shard={PER_SHARD}, device='cpu')"


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_nothing_and_leaves_no_process(place, expected, tmp_path):
    command = [sys.executable, "-c", DRIVER, str(place / "beir"), str(place / "model"), str(tmp_path)]
    done, crew, in_the_middle = 0, set(), 0
    chance = random.Random(1)
    # Shards that it may make before it is killed; none: while it starts.
    for more in (0, *(chance.randint(1, 3) for _ in range(4))):
        driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if more:
            until(lambda n=done + more: len(list(tmp_path.glob("shard-*.safetensors"))) >= n)
        else:
            until(lambda p=driver.pid: len(psutil.Process(p).children(recursive=True)) > 3)
        crew |= set(psutil.Process(driver.pid).children(recursive=True))
        driver.kill()
        driver.wait()
        assert (made := 22 - len(shards.missing(tmp_path))) >= done
        in_the_middle += 0 < made < 22
        done = made
    assert in_the_middle >= 2
    kept = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("shard-*.safetensors")}
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    check(tmp_path, expected)
    assert all((tmp_path / name).stat().st_mtime_ns == at for name, at in kept.items())
    assert len(crew) > 10 and not gone(crew, 120)  # helpers of Ray that were just starting take a minute to notice


def until(true, seconds: float = 120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come so far in time"
        time.sleep(0.002)


@pytest.mark.slow
def test_a_cluster_of_two_nodes_gives_the_same_bits(place, expected, tmp_path):
    from ray.cluster_utils import Cluster

    ray.shutdown()
    cluster.package()
    before = set(psutil.Process().children(recursive=True))
    options = {"num_cpus": 1, "object_store_memory": cluster.STORE, "include_dashboard": False}
    with cluster.light_processes():
        nodes = Cluster(initialize_head=True, head_node_args=options)
        try:
            nodes.add_node(**options)
            nodes.wait_for_nodes()
            made, _ = run(place, tmp_path, address=nodes.address)
            crew = set(psutil.Process().children(recursive=True)) - before
        finally:
            ray.shutdown()
            nodes.shutdown()
    assert len({f.node for f in made.shards}) == 2
    check(tmp_path, expected)
    assert len(crew) > 3 and not gone(crew)


# Without Ray ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_ray(monkeypatch):
    """What runs without Ray must not start it."""
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("Ray was started"))


def test_another_corpus_or_other_weights_are_refused_before_any_work(place, no_ray, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "_work", lambda ray, job, todo: iter(()))
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("Ray was started"))
    out = tmp_path / "out"
    spec_before = shards.identity(encode.registry.get(place / "model"))
    found = corpus.scan(place / "beir", PER_SHARD)
    made_from = {**spec_before, "texts": found.digest, "role": "passage", "dtype": "float32", "max_tokens": 512}
    shards.write_manifest(out, made_from, ROWS, PER_SHARD)

    corpus.write(tmp_path / "beir", {**TEXTS, "d0": "Another text."})
    with pytest.raises(ValueError, match="another value of the corpus"):
        encode.encode(tmp_path / "beir", place / "model", out, rows_per_shard=PER_SHARD)
    with pytest.raises(ValueError, match="another value of the number format: 'float32', and now it is 'bfloat16'"):
        encode.encode(place / "beir", place / "model", out, rows_per_shard=PER_SHARD, dtype="bfloat16")
    with pytest.raises(ValueError, match="another value of what is written around a text"):
        encode.encode(place / "beir", place / "model", out, rows_per_shard=PER_SHARD, pooling="last_token")
    adapter = tiny.save_adapter(tmp_path / "adapter", str(place / "model"))
    with pytest.raises(ValueError, match="another value of the weights of the adapters"):
        encode.encode(place / "beir", place / "model", out, rows_per_shard=PER_SHARD, adapters=(adapter,))


def test_a_damaged_shard_is_refused_before_any_work(place, no_ray, tmp_path):
    found = corpus.scan(place / "beir", ROWS)
    who = shards.identity(encode.registry.get(place / "model"))
    made_from = {**who, "texts": found.digest, "role": "passage", "dtype": "float32", "max_tokens": 512}
    shards.write_manifest(tmp_path, made_from, ROWS, ROWS)
    shards.write(tmp_path, 0, list(TEXTS), np.ones((ROWS, 4), dtype=np.float32))
    path = tmp_path / shards.name(0)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"shard-00000\.safetensors is damaged .*remove it and run again"):
        encode.encode(place / "beir", place / "model", tmp_path, rows_per_shard=ROWS)


def test_two_runs_never_write_into_one_folder(place, no_ray, tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / encode.LOCK), pytest.raises(ValueError, match="another run writes into"):
        encode.encode(place / "beir", place / "model", tmp_path)


@pytest.fixture
def job(place, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "_node", lambda: "here")
    spec = encode.registry.get(place / "model")
    found, who = corpus.scan(place / "beir", PER_SHARD), shards.identity(spec)
    made_from = {**who, "texts": found.digest, "role": "passage", "dtype": "float32", "max_tokens": 512}
    shards.write_manifest(tmp_path, made_from, ROWS, PER_SHARD)
    crew = encode.Crew(1, "cpu", torch.get_num_threads())
    return encode.Job(
        spec, {}, who, found.path, tmp_path, {"max_tokens": 512}, "float32", crew, shards.manifest_digest(tmp_path)
    )


def work(job, *numbers: int) -> list[dict]:
    pieces = corpus.scan(job.source.parent, PER_SHARD).pieces
    rows = [{"number": number, **pieces[number]._asdict()} for number in numbers or (0,)]
    made = encode.Worker(job)({key: np.array([row[key] for row in rows]) for key in rows[0]})["made"]
    return [encode.json.loads(line) for line in made]


def test_a_block_that_is_worked_on_again_is_told_whole_and_not_made_again(job, monkeypatch):
    original = shards.write

    def cut(folder, number, *rest):
        if number == 2:
            raise KeyboardInterrupt  # the worker is lost in the middle of a block of four
        original(folder, number, *rest)

    monkeypatch.setattr(shards, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        work(job, 0, 1, 2, 21)
    kept = {n: (job.out / shards.name(n)).stat().st_mtime_ns for n in (0, 1)}
    monkeypatch.undo()
    monkeypatch.setattr(encode, "_node", lambda: "there")
    told = work(job, 0, 1, 2, 21)
    assert [(t["number"], t["rows"]) for t in told] == [(0, 8), (1, 8), (2, 8), (21, 2)]
    assert [t["seconds"] > 0 for t in told] == [False, False, True, True]
    assert {n: (job.out / shards.name(n)).stat().st_mtime_ns for n in (0, 1)} == kept


def test_a_worker_of_an_old_run_comes_too_late_to_place_a_shard(job):
    about = shards.manifest(job.out)
    (job.out / shards.MANIFEST).unlink()
    made_from = {key: about[key] for key in shards.SOURCES if key != "rows_per_shard"}
    shards.write_manifest(job.out, {**made_from, "texts": "another corpus"}, ROWS, PER_SHARD)
    error = encode._told(**work(job)[0])
    assert isinstance(error, ValueError) and "a new run has taken the folder" in str(error)
    assert shards.missing(job.out) == list(range(22)) and not list(job.out.glob(f"*{shards.PARTIAL}"))


def test_the_lock_comes_before_the_manifest_and_the_sweep_after_it(place, no_ray, tmp_path, monkeypatch):
    from filelock import FileLock, Timeout

    held = []

    def look(out, *_):
        with pytest.raises(Timeout):
            FileLock(out / encode.LOCK).acquire(timeout=0)
        held.append(out)
        raise ValueError("seen")

    monkeypatch.setattr(shards, "write_manifest", look)
    half = tmp_path / f"theirs{shards.PARTIAL}"
    half.write_bytes(b"of something else")
    with pytest.raises(ValueError, match="seen"):
        encode.encode(place / "beir", place / "model", tmp_path)
    assert held == [tmp_path] and half.exists()


def test_no_cluster_at_an_address_says_what_to_do(monkeypatch):
    def refused(**options):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(ConnectionError, match="no Ray at auto: nobody answers; start one with `ray start --head`, or"):
        with cluster.running("auto"):
            pass
    with pytest.raises(ConnectionError, match="no Ray at this machine: nobody answers$"):
        with cluster.running():
            pass


def test_a_full_disk_is_told_as_such(job, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", full)
    [told] = work(job)
    error = encode._told(**told)
    assert type(error) is OSError and error.errno == errno.ENOSPC
    assert "No space left on device. To go on, make room, then run again; what is done is kept" in str(
        error
    ) and "shard-00000" in str(error)
    assert not list(job.out.glob("*.safetensors*"))


def test_a_node_with_other_weights_is_refused(job):
    [told] = work(job._replace(identity={**job.identity, "backbone": "other"}))
    error = encode._told(**told)
    assert isinstance(error, ValueError) and "on the node here, the weights of the backbone differs" in str(error)


def test_workers_that_are_lost_again_and_again_end_the_run(job):
    for i in range(encode.LOST + 1):
        (job.out / f"{encode.STARTED}here-{i}").touch()
    error = encode._told(**work(job)[0])
    assert isinstance(error, RuntimeError) and "perhaps memory ran out: give fewer of them" in str(error)


def test_a_mistake_of_ours_is_told_with_its_kind():
    error = encode._told("RuntimeError", "shard-00000.safetensors: ZeroDivisionError()", None)
    assert isinstance(error, RuntimeError) and "ZeroDivisionError" in str(error)
    assert str(error).endswith("mend this, then run again; what is done is kept")


def test_without_ray_it_says_what_to_install(place, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'several-tokens\[scale\]'"):
        encode.encode(place / "beir", place / "model", tmp_path)


def test_no_module_of_the_package_loads_torch_or_ray():
    names = [f"course_utils.search.scale.{p.stem}" for p in Path(encode.__file__).parent.glob("[a-z]*.py")]
    code = f"import sys\nfor name in {names}:\n    __import__(name)\n    print({{'torch', 'ray'}} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(said.splitlines()) == len(names) >= 5 and all(line.endswith("set()") for line in said.splitlines()), said


def test_progress_tells_speed_and_the_time_that_is_left(monkeypatch):
    clock = iter([0.0, 10.0, 11.0, 20.0, 30.0, 30.0])
    monkeypatch.setattr(encode.time, "monotonic", lambda: next(clock))
    lines: list[str] = []
    progress = encode._Progress(lines.append, 40)
    for number in range(4):
        progress.add(encode.Finished(number, 10, 5.0, 1, "here", 2**30))
    made = progress.end(Path("out"), 40)
    assert lines == [
        "10 of 40 documents, 2.0 a second, about 15 s left",
        "30 of 40 documents, 2.0 a second, about 5 s left",
        "40 documents in 30 s, 1.6 a second while encoding, at most 1.00 GiB of memory in a worker",
    ]
    assert made.made == 40 and made.seconds == 30.0

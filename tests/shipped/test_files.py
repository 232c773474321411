"""The file format: what is packed comes back within half a step; files are whole or refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from course_utils.models import registry
from course_utils.shipped import files


def rows(n=50, d=64, large=()):
    """Rows of very different length around a common mean, with some columns thirty times as large as the others."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(n, d)) * np.logspace(-1, 1, n)[:, None] + rng.normal(size=d)
    found[:, list(large)] *= 30
    return found.astype(np.float32)


# --- Packing --------------------------------------------------------------------------------------


def test_no_number_is_off_by_more_than_half_a_step():
    given = rows()
    given[7] = given.mean(axis=0)
    packed = files.pack(given)
    assert [part.dtype for part in packed] == [np.int8, np.float32, np.float32, np.float32]
    assert [part.shape for part in packed] == [(50, 64), (50,), (64,), (64,)]
    step = packed.scale[:, None] * packed.spread
    assert (np.abs(files.unpack(packed) - given) <= 0.5001 * step + 1e-5).all()
    np.testing.assert_array_equal(np.abs(packed.numbers).max(axis=1)[np.arange(50) != 7], 127)


def test_large_columns_and_a_common_mean_cost_the_others_nothing():
    plain, given = rows(), rows(large=(3, 60))
    moved = given + 1000 * np.eye(64, dtype=np.float32)[5]
    for changed in (given, moved):
        np.testing.assert_allclose(files.pack(changed).numbers, files.pack(plain).numbers, atol=1)
    error = np.abs(files.unpack(files.pack(moved)) - moved).mean(axis=0)
    small = np.delete(error, [3, 5, 60])
    assert small.max() < 0.01 * plain.std() and error[[3, 60]].max() < 40 * small.max()


def test_one_row_far_out_costs_the_other_rows_nothing():
    given = np.random.default_rng(1).normal(size=(500, 16)).astype(np.float32)
    before = np.abs(files.unpack(files.pack(given)) - given)[1:].mean()
    given[0, 4] = 20
    assert np.abs(files.unpack(files.pack(given)) - given)[1:].mean() < 1.1 * before


@pytest.mark.parametrize("shape", [(0, 5), (0, 0), (3, 0), (1, 1), (4, 7)])
@pytest.mark.parametrize("value", [0.0, -3.5])
def test_equal_rows_and_no_rows_come_back(shape, value):
    found = files.unpack(files.pack(np.full(shape, value)))
    assert found.shape == shape and found.dtype == np.float32 and (found == value).all()


def test_packing_refuses_what_is_no_matrix_of_numbers():
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        files.pack(np.ones(3))
    for bad in (np.nan, np.inf, 1e300):
        with pytest.raises(ValueError, match=r"rows hold NaN or infinity in row\(s\) \[0\]"):
            files.pack(np.array([[1.0, bad]]))


# --- Files ----------------------------------------------------------------------------------------


def test_what_is_written_is_read_with_its_sources(tmp_path):
    path, made_from = tmp_path / "new" / "one.safetensors", {"texts": files.digest(b"a", b"b")}
    tensors = {"wide": rows(large=(5,)), "cosines-bare": np.linspace(-1, 1, 9, dtype=np.float32)}
    tensors["turned"] = np.asfortranarray(tensors["wide"])
    files.write(path, tensors, made_from)
    found = files.read(path)
    assert files.made_from(path) == made_from and set(found) == set(tensors)
    np.testing.assert_array_equal(found["cosines-bare"], tensors["cosines-bare"])
    np.testing.assert_array_equal(found["wide"], files.unpack(files.pack(tensors["wide"])))
    np.testing.assert_array_equal(found["turned"], found["wide"])
    assert [file.name for file in path.parent.iterdir()] == ["one.safetensors"]
    assert path.stat().st_size < 2 * tensors["wide"].size + 2 * 12 * 64 + 2000  # a byte a number, and three lines


def test_a_failed_write_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch):
    path = tmp_path / "one.safetensors"
    files.write(path, {"rows": np.ones(2)}, {"texts": "old"})

    def disk_full(tensors, partial, metadata):
        partial.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", disk_full)
    with pytest.raises(OSError, match="No space"):
        files.write(path, {"rows": np.zeros(2)}, {"texts": "new"})
    assert files.made_from(path) == {"texts": "old"} and files.read(path)["rows"].tolist() == [1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["one.safetensors"]


def test_missing_and_damaged_files_are_refused_by_name(tmp_path):
    path = tmp_path / "one.safetensors"
    for read in (files.read, files.made_from):
        with pytest.raises(FileNotFoundError, match="one.safetensors does not exist"):
            read(path)
    files.write(path, {"rows": rows()}, {})
    whole = path.read_bytes()
    for content in (b"", whole[:-100], b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="one.safetensors is not a whole safetensors file .*: fetch it or make it"):
            files.read(path)


def test_a_digest_depends_on_every_byte():
    assert files.digest(b"ab") == files.digest(b"a", b"b") != files.digest(b"ac")


def test_an_adapter_is_known_by_its_weights_and_without_them_by_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "ADAPTERS", tmp_path)
    spec, folder = registry.get("smol-grit"), tmp_path / "smol-grit"
    assert files.weights(spec)["adapters"] == ""
    folder.mkdir()
    (folder / "training.json").write_text(json.dumps({"adapter_sha256": "logged"}))
    assert files.weights(spec)["adapters"] == "logged"
    save_file({"a": np.ones(3)}, folder / "adapter_model.safetensors")
    assert files.weights(spec)["adapters"] == files.digest((folder / "adapter_model.safetensors").read_bytes())
    assert files.weights(registry.get("smollm2"))["adapters"] == ""


@pytest.mark.parametrize("name", [n for n in registry.POCKET + registry.VARIANTS if registry.get(n).adapters])
def test_every_log_knows_its_adapter(name):
    for folder in registry.get(name).adapter_paths():
        logged = json.loads((folder / "training.json").read_text(encoding="utf-8"))["adapter_sha256"]
        weights = folder / "adapter_model.safetensors"
        assert len(logged) == 64 and (not weights.exists() or files.digest(weights.read_bytes()) == logged)
        assert not weights.exists() or load_file(weights)

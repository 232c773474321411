"""Shipped files: written whole or not at all, refused when they are not there, remade one language model at a time."""

import numpy as np
import pytest

from course_utils.models import registry
from course_utils.shipped import files


def test_what_is_written_is_read_with_its_sources(tmp_path):
    path, made_from = tmp_path / "new" / "one.safetensors", {"texts": files.digest(b"a", b"b")}
    files.write(path, {"rows": np.arange(6, dtype=np.float16).reshape(2, 3)}, made_from)
    tensors, found = files.read(path, "arrays")
    assert found == files.made_from(path) == made_from
    assert tensors["rows"].tolist() == [[0, 1, 2], [3, 4, 5]] and tensors["rows"].dtype == np.float16
    assert [file.name for file in path.parent.iterdir()] == ["one.safetensors"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "one.safetensors"
    files.write(path, {"rows": np.ones(2)}, {"texts": "old"})

    def disk_full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", disk_full)
    with pytest.raises(OSError, match="No space"):
        files.write(path, {"rows": np.zeros(2)}, {"texts": "new"})
    assert files.made_from(path) == {"texts": "old"} and files.read(path, "arrays")[0]["rows"].tolist() == [1, 1]


def test_a_missing_file_is_refused_and_has_no_sources(tmp_path):
    files.write(tmp_path / "there.safetensors", {"rows": np.ones(1)}, {})
    with pytest.raises(FileNotFoundError, match="'gone'; there are: there. .* python -m course_utils.shipped.arrays gone$"):
        files.read(tmp_path / "gone.safetensors", "arrays")
    assert files.made_from(tmp_path / "gone.safetensors") is None


def test_a_digest_depends_on_every_byte():
    assert files.digest(b"ab") == files.digest(b"a", b"b") != files.digest(b"ac")


@pytest.mark.parametrize("entry", [7e4, np.nan])
def test_what_float16_cannot_hold_is_refused(entry):
    assert files.half("x", np.array([[6e4]])).dtype == np.float16
    with pytest.raises(ValueError, match="x: an entry of .* does not fit into float16"):
        files.half("x", np.array([[1.0, entry]]))


def test_each_language_model_is_loaded_once(monkeypatch, tmp_path, capsys):
    loaded, made = [], []
    monkeypatch.setattr("course_utils.models.embedder.Backbone", lambda source: loaded.append(source) or source)
    names = ["smol-eol", "gemma-eol", "smollm2"]
    files.make_each(names, lambda name, backbone: made.append((name, backbone)), tmp_path)
    assert loaded == ["smollm2", "gemma3"]
    assert made == [(name, registry.get(name).backbone) for name in ("smol-eol", "smollm2", "gemma-eol")]
    assert capsys.readouterr().out.count("written to") == 3

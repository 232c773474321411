"""Corpus: the pieces together are what the whole file is; what is wrong is told with its line."""

import json

import pytest
import tiny

from course_utils.search.scale import corpus
from course_utils.texts import readers

ROWS = [
    {"_id": "a", "text": "Iron rusts."},
    {"_id": "b", "text": "It is a river.", "title": "Rhine"},
    {"_id": "c", "text": ""},
    {"_id": "d", "text": "Ünïcode, and a\u2028line separator"},
    {"_id": 5, "text": None, "title": "Only a title"},
    {"_id": "f", "text": "Rhine is a river.", "title": "Rhine"},
]


def beir(folder, rows):
    folder.mkdir(exist_ok=True)
    tiny.write_jsonl(folder / corpus.FILE, rows)
    return folder


@pytest.mark.parametrize("per_piece", [1, 2, 3, 100])
def test_the_pieces_are_the_file_as_the_reader_of_collections_reads_it(tmp_path, per_piece):
    folder = beir(tmp_path, ROWS)
    tiny.write_jsonl(folder / "queries.jsonl", [{"_id": "q", "text": "rust"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 of 6 documents are empty"):
        whole = readers.retrieval(folder).corpus
    found = corpus.scan(folder, per_piece)
    pieces = [corpus.read(found.path, piece) for piece in found.pieces]
    assert [key for ids, _ in pieces for key in ids] == list(whole)
    assert [text for _, texts in pieces for text in texts] == list(whole.values())
    assert [len(ids) for ids, _ in pieces[:-1]] == [per_piece] * (len(pieces) - 1)
    assert (found.rows, found.empty) == (5, 1)


def test_the_checksum_is_of_texts_and_ids_and_not_of_the_file(tmp_path):
    digests = [
        corpus.scan(beir(tmp_path / str(i), rows), 2).digest
        for i, rows in enumerate(
            [
                ROWS,
                [row for row in ROWS if row["_id"] != "c"],  # the empty one
                ROWS[::-1],
                [*ROWS[:-1], {"_id": "g", "text": "Rhine is a river."}],
                [*ROWS[:-1], {"_id": "f", "text": "Rhine was a river."}],
            ]
        )
    ]
    assert digests[0] == digests[1] and len(set(digests)) == 4
    assert corpus.scan(beir(tmp_path / "0", ROWS), 3).digest == digests[0]


def test_written_documents_are_read_again(tmp_path):
    documents = {"a": "Iron rusts.", "b": "Two\nlines"}
    corpus.write(tmp_path / "new", documents)
    found = corpus.scan(tmp_path / "new", 10)
    assert corpus.read(found.path, found.pieces[0]) == (list(documents), list(documents.values()))


def test_a_byte_order_mark_and_windows_line_ends(tmp_path):
    lines = "\r\n".join(json.dumps(row) for row in ROWS[:2])
    (tmp_path / corpus.FILE).write_bytes(b"\xef\xbb\xbf" + lines.encode())
    found = corpus.scan(tmp_path, 1)
    assert [corpus.read(found.path, piece)[0] for piece in found.pieces] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n', "documents in lines 1 and 2 have the same id"),
        (b'{"_id": "a", "text": "x"}\n{"_id": "b"}\n', "line 2 lacks 'text'"),
        (b'{"_id": "a", "text": "x"}\nno json\n', "line 2 is not valid JSON"),
        (b'{"_id": "a", "text": "x"}\n\n', "line 2 is empty"),
        (b'{"_id": "a", "text": "\xff"}\n', "line 1 is not UTF-8"),
        (b'{"_id": "a", "text": " "}\n', "holds no document with a text"),
        (b"", "holds no document with a text"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, content, said):
    (tmp_path / corpus.FILE).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        corpus.scan(tmp_path, 2)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"corpus\.jsonl does not exist"):
        corpus.scan(tmp_path, 2)


def test_a_piece_of_a_file_that_has_changed_is_refused(tmp_path):
    folder = beir(tmp_path, ROWS)
    found = corpus.scan(folder, 2)
    beir(folder, [*ROWS[:3], {**ROWS[3], "text": "Another."}, *ROWS[4:]])
    assert corpus.read(found.path, found.pieces[0])[0] == ["a", "b"]
    with pytest.raises(ValueError, match=r"has changed since it was scanned \(from line 3 on\)"):
        corpus.read(found.path, found.pieces[1])

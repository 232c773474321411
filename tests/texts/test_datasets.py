"""The texts are clean, the same everywhere, and malformed files are refused with their line."""

import hashlib
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from course_utils.texts import datasets, readers
from course_utils.texts.wikitext import clean, is_complete, split_sentences

ROOT = Path(__file__).parents[2]

# Computed once from the pinned file; see test_counts_of_the_wikipedia_texts.
SECTIONS, PARAGRAPHS, SENTENCES = 739, 5403, 18002

# --- Wikipedia ------------------------------------------------------------------------------------


def test_counts_of_the_wikipedia_texts():
    # The file and its reader are pinned, so the counts are exact; a changed cleaning rule must show here.
    sections = datasets.wikipedia_sections()
    assert len(list(datasets._articles(datasets._gensim_file(datasets._WIKIPEDIA)))) == 106
    assert len({s.article for s in sections}) == 104  # two pages are lists of links without a sentence
    assert len(sections) == SECTIONS
    assert sum(len(s.paragraphs) for s in sections) == PARAGRAPHS
    assert len(datasets.wikipedia_sentences()) == SENTENCES
    assert repr(datasets.wikipedia_retrieval()) == "Retrieval(5076 documents, 627 queries, 4803 relevant pairs)"


LEFT_OVERS = {
    "quotes": "''|[“”‘’]",
    "brackets": r"[\[\]{}|<>\\]",
    "empty parentheses": r"\(\s*\)|\([\s,;:]|\s\)",
    "tags and entities": r"</?\w|&\w+;|&#",
    "files and links": r"\b(File|Image|Category):|\bthumb\b|\d+px\b|https?:|\b(colspan|rowspan|align|style|class)=",
    "list marks and headings": r"^[*#:;=!]|={2}|__[A-Z]+__",
    "white space": r"\s\s|[\n\t\xa0\v]|^\s|\s$",
    "lonely punctuation": r"\s[,.;:!?](\s|$)|,,|,\.(?!\.)",
    "invisible characters": "[\u200b-\u200f\u202a-\u202e\ufeff\ufffc\xad]",
    "footnotes": r"\b(citation needed|ISBN|cite web|harvnb|reflist)\b",
}


@pytest.mark.parametrize("pattern", LEFT_OVERS.values(), ids=LEFT_OVERS)
def test_no_markup_is_left_over(pattern):
    paragraphs = [p for section in datasets.wikipedia_sections() for p in section.paragraphs]
    texts = paragraphs + datasets.wikipedia_sentences() + [s.heading for s in datasets.wikipedia_sections()]
    assert [t for t in texts if re.search(pattern, t)] == []


def test_sentences_are_complete_and_distinct():
    sentences = datasets.wikipedia_sentences()
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert 8 <= len(sentence.split()) <= 60
        assert re.match(r"[\"'(]*[A-Z0-9À-Þ]", sentence), sentence
        assert re.search(r"[.!?][\"')]*$", sentence), sentence
        assert sentence.count("(") == sentence.count(")") and sentence.count('"') % 2 == 0, sentence


def test_sample_is_a_prefix_depends_on_the_seed_and_is_spread_over_all_articles():
    few, many = datasets.wikipedia_sentences(500), datasets.wikipedia_sentences(2000)
    assert few == many[:500] == datasets.wikipedia_sentences(500)
    assert datasets.wikipedia_sentences(0) == []
    other = datasets.wikipedia_sentences(500, seed=1)
    assert other != few and len(set(other) & set(few)) < 250
    home = {s: a for a, _, paragraphs in datasets._sections() for sentences in paragraphs for s in sentences}
    assert len({home[s] for s in few}) == len({home[s] for s in datasets.wikipedia_sentences()})
    assert max(sum(home[s] == a for s in few) for a in set(home.values())) <= 10


@pytest.mark.parametrize("n", [-1, 10**6])
def test_impossible_number_of_sentences(n):
    with pytest.raises(ValueError, match=rf"n={n} .* there are {SENTENCES}"):
        datasets.wikipedia_sentences(n)


@pytest.mark.slow
def test_every_process_makes_the_same_texts_without_importing_gensim():
    code = (
        "import hashlib, sys; from course_utils.texts import datasets as d; r = d.wikipedia_retrieval();"
        "text = repr((d.wikipedia_sentences(), r.corpus, r.queries, r.qrels));"
        "print(hashlib.sha256(text.encode()).hexdigest(), 'gensim' in sys.modules)"
    )
    r = datasets.wikipedia_retrieval()
    here = hashlib.sha256(repr((datasets.wikipedia_sentences(), r.corpus, r.queries, r.qrels)).encode()).hexdigest()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert run.stdout.split() == [here, "False"], run.stderr


def test_wikipedia_retrieval_is_consistent():
    collection = datasets.wikipedia_retrieval()
    assert set(collection.qrels) == set(collection.queries)
    assert all(len(text.split()) > 15 for text in collection.corpus.values())
    assert len(set(collection.corpus.values())) == len(collection.corpus)
    assert len(set(collection.queries.values())) == len(collection.queries)
    assert not any("Introduction" in query for query in collection.queries.values())
    paragraphs = {}
    for section in datasets.wikipedia_sections():
        paragraphs.setdefault(f"{section.article}: {section.heading}", set()).update(section.paragraphs)
    for query, relevant in collection.qrels.items():
        expected = {p for p in paragraphs[collection.queries[query]] if len(p.split()) > 15}
        assert {collection.corpus[document] for document in relevant} == expected
        assert set(relevant.values()) == {1}


# --- Markup ---------------------------------------------------------------------------------------

MARKUP = [
    ("''An'' '''[[apple|Apple]]''' is ''Time'''s [[fruit]].", ["An Apple is Time's fruit."]),
    ("It is {{convert|5|-|10|km|mi}} or {{convert|3|C}} <!-- x -->wide.<ref name=a/><ref>No.<br/>x</ref>",
     ["It is 5–10 km or 3 °C wide."]),
    ("Rome ({{IPA-it|roma}}; {{lang-la|Roma}}) fell.", ["Rome (Roma) fell."]),
    ("Rome ({{IPA-it|roma}}) fell{{citation needed|date=May}}.", ["Rome fell."]),
    ("[[File:a.jpg|thumb|A [[cat]] [http://x.y z].]]\nText one\nruns on.\n\n* item one\n* item two",
     ["Text one runs on.", "item one", "item two"]),
    ('{| class="a"\n|-\n| cell || {{x|y}}\n{| inner\n|}\n|}\nAfter.', ["After."]),
    ("{{Infobox|a={{b|c}}|d=[[e]]}}\nHe<sub>2</sub> has 10<sup>6</sup> m&nbsp;&ndash; [[:Category:X|x]].",
     ["He2 has 10^6 m – x."]),
    ("=== Sub ===\nIt costs <nowiki>[[5]]</nowiki>.\n[[fr:Pomme]]", ["It costs 5."]),
    ("As {{as of|2010|lc=y}}, {{USS|Hornet|CV-12}} sails 1<sup>st</sup>.", ["As as of 2010, USS Hornet sails 1st."]),
]  # fmt: skip


@pytest.mark.parametrize("markup, lines", MARKUP, ids=range(len(MARKUP)))
def test_clean(markup, lines):
    assert clean(markup) == lines


@pytest.mark.parametrize(
    "markup", ["The sum <math>x^2</math> is large.", "It is {{unheard of|3}} wide.", "{{convert|5|e6acre}} lie."]
)
def test_a_sentence_that_lost_a_part_is_not_complete(markup):
    assert [s for line in clean("Ok: " + markup) for s in split_sentences(line) if is_complete(s)] == []


SENTENCE_SPLITS = [
    ["He met Dr. Smith in the U.S. Senate.", "They spoke, e.g. about J. F. Kennedy, c. 1850."],
    ["She left the U.S. in May.", "He moved to the U.S.", "The end."],
    ["It is no. 5 on p. 7 of vol. 2.", "He said no.", "Nobody did: a work of art."],
    ['"Is it so?"', '"Yes!"', "Then (perhaps.)", "1990 came.", "École closed."],
    ["Acme Inc. Founders left, etc.", "But it paid $3.50 at 5 p.m. Monday."],
]


@pytest.mark.parametrize("sentences", SENTENCE_SPLITS, ids=range(len(SENTENCE_SPLITS)))
def test_split_sentences(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_nothing_is_lost_in_splitting():
    paragraph = " ".join(datasets.wikipedia_sections()[1].paragraphs)
    assert " ".join(split_sentences(paragraph)) == paragraph


# --- Human judgements -----------------------------------------------------------------------------


@pytest.mark.parametrize("name, n, high", [("wordsim353", 353, 10.0), ("simlex999", 999, 9.8)])
def test_word_pairs(name, n, high):
    pairs = datasets.word_pairs(name)
    assert len(pairs) == len(pairs.right) == n and pairs.score.shape == (n,) and pairs.score.dtype == np.float64
    assert pairs.score.min() == 0.23 and pairs.score.max() == high
    assert all(word == word.strip() != "" for word in pairs.left + pairs.right)


def test_relatedness_and_similarity_differ_as_documented():
    scores = {}
    for name in ("wordsim353", "simlex999"):
        p = datasets.word_pairs(name)
        scores[name] = {frozenset(pair): s for *pair, s in zip(p.left, p.right, p.score, strict=True)}
    pair = frozenset(["closet", "clothes"])
    assert scores["wordsim353"][pair] > 7 and scores["simlex999"][pair] < 4


def test_unknown_word_pairs():
    with pytest.raises(ValueError, match="'wordsim'.*wordsim353, simlex999"):
        datasets.word_pairs("wordsim")


def test_judged_documents():
    documents, similarity = datasets.judged_documents()
    assert len(documents) == len(set(documents)) == 50
    assert all(40 < len(d.split()) < 140 and d == d.strip() for d in documents)
    assert any("£3,000" in d for d in documents)  # the file is not UTF-8
    assert similarity.shape == (50, 50) and similarity.dtype == np.float64
    assert np.array_equal(similarity, similarity.T) and np.array_equal(np.diag(similarity), np.ones(50))
    judged = similarity[np.triu_indices(50, k=1)]
    assert judged.min() == 0.2 and judged.max() == 1.0
    # Means of eight to twelve judgements from 1 to 5, over 5.
    votes = judged[:, None] * 5 * np.arange(8, 13)
    assert (np.abs(votes - votes.round()) < 1e-4).any(axis=1).all()


# --- Data of your own -----------------------------------------------------------------------------


def write(path: Path, *lines: str | dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), encoding="utf-8")
    return path


CORPUS = [{"_id": "a", "title": "Apples", "text": "are red."}, {"_id": "b", "text": "Pears."},
          {"_id": "c", "title": "Figs", "text": "Figs are sweet."}]  # fmt: skip
QUERIES = [{"_id": "1", "text": "red fruit"}, {"_id": "2", "text": "sweet"}, {"_id": "3", "text": "not judged"}]
QRELS = ["query-id\tcorpus-id\tscore", "1\ta\t2", "1\tb\t0", "2\tc\t1"]


def beir(folder: Path, corpus=CORPUS, queries=QUERIES, qrels=QRELS, split="test") -> Path:
    write(folder / "corpus.jsonl", *corpus)
    write(folder / "queries.jsonl", *queries)
    write(folder / "qrels" / f"{split}.tsv", *qrels)
    return folder


def test_beir_folder(tmp_path):
    collection = readers.retrieval(beir(tmp_path, split="dev"), split="dev")
    assert collection.corpus == {"a": "Apples are red.", "b": "Pears.", "c": "Figs are sweet."}
    assert collection.queries == {"1": "red fruit", "2": "sweet"}
    assert collection.qrels == {"1": {"a": 2, "b": 0}, "2": {"c": 1}}
    assert repr(collection) == "Retrieval(3 documents, 2 queries, 2 relevant pairs)"


def test_judgements_of_what_is_not_there_are_left_out_and_counted(tmp_path):
    qrels = [*QRELS, "1\tz\t1", "9\ta\t1", "3\tz\t2"]  # query 3 has no other judgement
    with pytest.warns(UserWarning, match="3 judgements name .* not there; they were left out, with 1 queries"):
        collection = readers.retrieval(beir(tmp_path, qrels=qrels))
    assert collection == readers.retrieval(beir(tmp_path / "clean"))


def test_a_document_may_have_a_title_only_and_its_id_may_be_a_number(tmp_path):
    corpus = [*CORPUS, {"_id": 7, "title": "Plums", "text": None}, {"_id": "8", "title": None, "text": "Cherries"}]
    collection = readers.retrieval(beir(tmp_path, corpus, qrels=[*QRELS, "2\t7\t1"]))
    assert (collection.corpus["7"], collection.corpus["8"]) == ("Plums", "Cherries")
    assert collection.qrels["2"] == {"c": 1, "7": 1}


def test_empty_documents_are_left_out_and_counted(tmp_path):
    corpus = [*CORPUS[:2], {"_id": "c", "title": "", "text": " "}, {"_id": "d", "title": "Only a title", "text": ""}]
    with pytest.warns(UserWarning, match="1 of 4 documents are empty; they were left out, with 1 queries"):
        collection = readers.retrieval(beir(tmp_path, corpus))
    assert list(collection.corpus) == ["a", "b", "d"] and collection.corpus["d"] == "Only a title"
    assert list(collection.queries) == list(collection.qrels) == ["1"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"corpus": [CORPUS[0], '{"_id": "b"']}, r"corpus\.jsonl, line 2 is not valid JSON"),
        ({"corpus": [CORPUS[0], ""]}, r"corpus\.jsonl, line 2 is empty"),
        ({"corpus": [CORPUS[0], "[1]"]}, r"corpus\.jsonl, line 2 must hold a JSON object"),
        (
            {"corpus": [CORPUS[0], {"_id": "b", "body": "x"}]},
            r"corpus\.jsonl, line 2 lacks 'text'; it has '_id', 'body'",
        ),
        ({"corpus": [*CORPUS, CORPUS[0]]}, r"corpus\.jsonl, line 4: the id 'a' occurs a second time"),
        ({"corpus": []}, r"corpus\.jsonl is empty"),
        ({"queries": [QUERIES[0], {"_id": "2", "text": None}]}, r"queries\.jsonl, line 2: 'text' is null"),
        ({"queries": [*QUERIES, QUERIES[1]]}, r"queries\.jsonl, line 4: the id '2' occurs a second time"),
        ({"queries": [{"_id": "1", "text": " "}, *QUERIES[1:]]}, r"query '1' has no text"),
        ({"qrels": QRELS[1:]}, r"test\.tsv, line 1 must be the header"),
        ({"qrels": []}, r"test\.tsv, line 1 must be the header"),
        ({"qrels": ["corpus-id\tquery-id\tscore", *QRELS[1:]]}, r"test\.tsv, line 1 must be the header"),
        ({"qrels": [*QRELS, "1 c 1"]}, r"test\.tsv, line 5 must have 3 columns with tabs between; got 1"),
        ({"qrels": [QRELS[0], "1\tz\t1", "9\ta\t1"]}, "no judgement names a query and a document of these files"),
        ({"corpus": [*CORPUS, {"_id": "d", "text": ["a"]}]}, r"line 4: 'text' must be a text; got \['a'\]"),
        ({"corpus": [*CORPUS, {"_id": "d", "title": 7, "text": "x"}]}, r"line 4: 'title' must be a text; got 7"),
        ({"corpus": [*CORPUS, {"_id": [1], "text": "x"}]}, r"line 4, '_id': an id must be a string or a whole number"),
        ({"corpus": [*CORPUS, {"_id": " ", "text": "x"}]}, r"line 4, '_id' is ' ': an id must not be empty"),
        ({"corpus": [*CORPUS, r'{"_id": "d", "text": "\ud83d"}']}, "line 4, 'text' is not valid Unicode"),
        ({"corpus": [*CORPUS, '{"_id": "d", "text": "x", "text": "y"}']}, "line 4: the key 'text' occurs twice"),
        ({"qrels": [*QRELS, "2\ta\tyes"]}, r"test\.tsv, line 5: the score must be a finite number; got 'yes'"),
        ({"qrels": [*QRELS, "2\ta\t0.5"]}, r"test\.tsv, line 5: the score must be a whole number; got 0.5"),
        ({"qrels": [*QRELS, "2\ta\t2147483647"]}, r"test\.tsv, line 5: the score must lie between -2 and 1000"),
        ({"qrels": [*QRELS, "2\ta\t1e300"]}, r"test\.tsv, line 5: the score must lie between -2 and 1000"),
        ({"qrels": [*QRELS, "1\ta\t1"]}, r"test\.tsv, line 5: query '1' and document 'a' occur a second time"),
    ],
)
def test_malformed_beir_folder(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        readers.retrieval(beir(tmp_path, **change))


def test_missing_files_and_folders(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"qrels.dev\.tsv does not exist"):
        readers.retrieval(beir(tmp_path), split="dev")
    with pytest.raises(FileNotFoundError, match="neither a folder or file .* nor a hub id"):
        readers.retrieval(tmp_path / "elsewhere")
    for name in ("./no-such-folder", "../no/such", "~/no-such-folder"):  # a path: no hub is asked
        with pytest.raises(FileNotFoundError, match="neither a folder or file here"):
            readers.retrieval(name)
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    with pytest.raises(ModuleNotFoundError, match=r"package datasets is needed: pip install"):
        readers.retrieval("owner/name")


def fake_hub(monkeypatch, tables: dict) -> None:
    """A stand-in for the package ``datasets`` with tables ``(name, config, split) -> rows``."""

    def load_dataset(name, config=None, split=None):
        if (name, config, split) not in tables:
            raise ValueError(f"BuilderConfig {config!r} not found")
        return tables[name, config, split]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))


@pytest.mark.parametrize("place", [("o/n", "default"), ("o/n-qrels", None)])
def test_beir_from_the_hub(tmp_path, monkeypatch, place):
    qrels = [{"query-id": q, "corpus-id": d, "score": float(s)} for q, d, s in (x.split("\t") for x in QRELS[1:])]
    fake_hub(monkeypatch, {
        ("o/n", "corpus", "corpus"): CORPUS, ("o/n", "queries", "queries"): QUERIES, (*place, "test"): qrels,
    })  # fmt: skip
    assert readers.retrieval("o/n") == readers.retrieval(beir(tmp_path))
    with pytest.raises(ConnectionError, match="could not load 'o/n' .* the split 'dev' and the network"):
        readers.retrieval("o/n", split="dev")
    qrels.append({"query-id": "1", "corpus-id": "z", "score": 1.0})
    with pytest.warns(UserWarning, match="o/n: 1 judgements name a query or document that is not there; they were"):
        assert readers.retrieval("o/n") == readers.retrieval(tmp_path)


PAIR = {"sentence1": "A cat.", "sentence2": "A dog.", "score": 2.5}


def test_pairs(tmp_path, monkeypatch):
    write(tmp_path / "dev.jsonl", PAIR, {**PAIR, "score": 4})
    fake_hub(monkeypatch, {("o/n", None, "dev"): [PAIR, {**PAIR, "score": 4.0}]})
    for source in (tmp_path / "dev.jsonl", tmp_path, "o/n"):
        pairs = readers.pairs(source, split="dev")
        assert (pairs.left, pairs.right, list(pairs.score)) == (["A cat."] * 2, ["A dog."] * 2, [2.5, 4.0])
        assert repr(pairs) == "Pairs(2 pairs, scores 2.5 to 4)"


@pytest.mark.parametrize(
    "line, message",
    [
        ({**PAIR, "score": "high"}, "line 2: the score must be a finite number; got 'high'"),
        ({**PAIR, "score": float("nan")}, "line 2: the score must be a finite number; got nan"),
        ({**PAIR, "score": [1]}, "line 2: the score must be a finite number"),
        ({**PAIR, "sentence2": " "}, "line 2: 'sentence2' is empty; remove the line"),
        ({**PAIR, "sentence1": 7}, "line 2: 'sentence1' must be a text; got 7"),
        ({"sentence1": "A."}, "line 2 lacks 'sentence2', 'score'"),
    ],
)
def test_malformed_pairs(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        readers.pairs(write(tmp_path / "x.jsonl", PAIR, line))


def windows(path: Path) -> None:
    """Save a file again as Notepad does: with a byte order mark and two signs at the end of a line."""
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


def test_files_from_windows_are_read_and_other_encodings_are_named(tmp_path):
    expected = readers.retrieval(beir(tmp_path))
    files = [tmp_path / "corpus.jsonl", tmp_path / "queries.jsonl", tmp_path / "qrels" / "test.tsv"]
    for path in files:
        windows(path)
    assert readers.retrieval(tmp_path) == expected
    for path in files:
        sound = path.read_bytes()
        for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
            path.write_text(sound.decode("utf-8-sig"), encoding=encoding)
            with pytest.raises(ValueError, match=rf"{path.name} is UTF-16 text: save it as UTF-8"):
                readers.retrieval(tmp_path)
        path.write_bytes(sound + "Zürich".encode("latin-1"))
        with pytest.raises(ValueError, match=rf"{path.name}, line \d is not UTF-8 text .*; save the file as UTF-8"):
            readers.retrieval(tmp_path)
        path.write_bytes(sound)


def test_read_jsonl(tmp_path):
    rows = [{"text": "é\u2028x", "n": 1}, {"text": "b"}]
    path = write(tmp_path / "x.jsonl", json.dumps(rows[0], ensure_ascii=False), rows[1])
    assert readers.read_jsonl(path) == rows
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").rstrip())  # another system, no line end at the end
    assert readers.read_jsonl(path) == rows
    with pytest.raises(ValueError, match="line 2 lacks 'n'; it has 'text'"):
        readers.read_jsonl(path, required=("text", "n"))
    path.write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(ValueError, match="line 2 is not UTF-8 text"):
        readers.read_jsonl(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        readers.read_jsonl(tmp_path / "none.jsonl")

"""Recipes and training data: what is wrong is said before training starts, with file and line."""

import json
import random
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
import tiny

from course_utils.models import registry
from course_utils.training import examples as grouped
from course_utils.training import recipes
from course_utils.training.recipes import Data, Example, Mine, Recipe, Stage, TeacherTerm

STAGE = '[[stage]]\nobjective = "contrastive"\nsteps = 4\nlearning_rate = 1e-3\nbatch_size = 4\n'
DATA = '[[data]]\nfile = "a.jsonl"\nform = "triplets"\n'
ROW = {"anchor": "A man sleeps.", "positive": "A man rests.", "negative": "A man runs."}


def write_recipe(folder, head="", stage=STAGE, data=DATA):
    path = folder / "mine.toml"
    path.write_text(f'embedder = "smollm2"\n{head}\n{stage}\n{data}', encoding="utf-8")
    return path


def recipe(*data, batch_size=2, seed=0):
    return Recipe("smollm2", [Stage("contrastive", 4, 1e-3, batch_size)], list(data), seed=seed)


# --- Recipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(recipes.RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipe(path):
    read = recipes.read(path)
    assert registry.get(path.stem).adapters == (path.stem,)  # one recipe per adapter, of the same name
    assert registry.get(read.embedder).backbone == registry.get(path.stem).backbone
    assert sum(stage.steps for stage in read.stage) > 0


def test_every_shipped_adapter_has_a_recipe():
    needed = {adapter for name in registry.POCKET + registry.VARIANTS for adapter in registry.get(name).adapters}
    assert needed == {path.stem for path in recipes.RECIPES.glob("*.toml")}


def test_a_recipe_is_read(tmp_path):
    read = recipes.read(write_recipe(tmp_path, "seed = 7\nlora_rank = 2"))
    assert (read.embedder, read.seed, read.lora_rank, read.temperature) == ("smollm2", 7, 2, 0.05)
    assert read.stage == [Stage("contrastive", 4, 1e-3, 4)] and read.data == [Data("a.jsonl", "triplets")]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"head": "temprature = 0.1"}, r"mine.toml: unknown key 'temprature'; known keys: .*temperature"),
        ({"stage": STAGE + "rate = 1"}, "mine.toml, stage 1: unknown key 'rate'; known keys: .*learning_rate"),
        ({"stage": STAGE + STAGE + "rate = 1"}, "mine.toml, stage 2: unknown key 'rate'"),
        ({"data": DATA + "wieght = 2"}, "mine.toml, data 1: unknown key 'wieght'; known keys: .*weight"),
        ({"stage": STAGE.replace("contrastive", "triplet")}, "unknown objective 'triplet'; choose from .*mntp"),
        ({"data": DATA.replace("triplets", "triples")}, "unknown form 'triples' of a.jsonl; choose from .*pairs"),
        ({"data": DATA.replace("triplets", "labelled")}, "a.jsonl.*'labelled'.*needs.*label"),
        ({"stage": "[[stage]]\nsteps = 4\nlearning_rate = 1e-3"}, "mine.toml, stage 1: .*objective"),
        ({"stage": STAGE.replace("4", '"4"')}, "mine.toml, stage 1: steps must be int; got '4'"),
        ({"stage": STAGE.replace("= 4", "= 0")}, "mine.toml, stage 1: steps must be positive; got 0"),
        ({"stage": STAGE.replace("1e-3", "-1e-3")}, "mine.toml, stage 1: learning_rate must be positive; got -0.001"),
        ({"data": DATA + "weight = 0"}, "mine.toml, data 1: weight must be positive; got 0"),
        ({"stage": ""}, r"needs at least one \[\[stage\]\]"),
        ({"data": ""}, r"needs at least one .*\[\[data\]\]"),
        ({"head": "seed = "}, r"mine.toml: .*line 2"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        recipes.read(write_recipe(tmp_path, **changes))


def test_a_missing_recipe_lists_the_shipped_ones(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no recipe .*smol-gritt.toml; .*smol-grit, smol-llm2vec"):
        recipes.read(tmp_path / "smol-gritt.toml")


# --- Data files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, message",
    [
        ("", r"a.jsonl, line 2 is empty; remove it"),
        ("{'anchor': 1}", r"a.jsonl, line 2 is not valid JSON"),
        ('{"anchor": "x", "positive": "y"', r"a.jsonl, line 2 is not valid JSON"),
        ('{"anchor": "x", "positive": "y"}', r"a.jsonl, line 2: needs a non-empty text under 'negative'"),
        (json.dumps({**ROW, "positive": "  "}), r"a.jsonl, line 2: needs a non-empty text under 'positive'"),
        (json.dumps({**ROW, "anchor": 3}), r"a.jsonl, line 2: needs a non-empty text under 'anchor'"),
        ("[1, 2]", r"a.jsonl, line 2 must hold a JSON object"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    good = json.dumps(ROW)
    (tmp_path / "a.jsonl").write_text(f"{good}\n{line}\n{good}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        recipes.load_examples(recipe(Data("a.jsonl", "triplets")), tmp_path)


def test_a_line_without_any_required_text_must_still_be_an_object(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n[1, 2]\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a.jsonl, line 2 must hold a JSON object"):
        recipes.read_rows(tmp_path / "a.jsonl", ())


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a.jsonl does not exist; give its folder with --data"):
        recipes.load_examples(recipe(Data("a.jsonl", "triplets")), tmp_path)
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"a.jsonl is empty; expected one JSON object per line"):
        recipes.load_examples(recipe(Data("a.jsonl", "triplets")), tmp_path)


def test_only_line_feeds_end_a_line(tmp_path):
    odd = "one\u2028two\u0085three"  # characters that Python's splitlines takes for line ends, and JSON does not
    tiny.write_jsonl(tmp_path / "a.jsonl", [{**ROW, "anchor": odd}] * 2)
    (examples,), _ = recipes.load_examples(recipe(Data("a.jsonl", "triplets")), tmp_path)
    assert [e.anchor for e in examples] == [odd, odd]


def test_too_few_rows_for_a_batch_are_noticed_at_once(tmp_path):
    tiny.write_jsonl(tmp_path / "many.jsonl", [ROW] * 9)
    tiny.write_jsonl(tmp_path / "few.jsonl", [ROW] * 3)
    wanted = recipe(Data("many.jsonl", "triplets"), Data("few.jsonl", "triplets", weight=1e-9), batch_size=4)
    with pytest.raises(ValueError, match=r"few.jsonl.* 3 examples.* batch of 4"):
        recipes.load_examples(wanted, tmp_path)


def test_forms(tmp_path):
    tiny.write_jsonl(tmp_path / "t.jsonl", [ROW] * 2)
    tiny.write_jsonl(tmp_path / "p.jsonl", [{"query": "who", "positive": "she"}, {"query": "who", "positive": "she"}])
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"context": "long", "question": "what", "answer": "it"}] * 2)
    data = [
        Data("t.jsonl", "triplets", instruction="meaning"),
        Data("p.jsonl", "pairs", instruction="answer"),
        Data("a.jsonl", "answers"),
    ]
    triplets, pairs, answers = recipes.load_examples(recipe(*data), tmp_path)[0]
    assert triplets[0] == Example(*ROW.values(), "meaning", "meaning")
    assert pairs[0] == Example("who", "she", None, "answer", None)  # only the query side is instructed
    assert answers[0] == Example("long", "it", None, "what", None, group="it")


def test_limit_takes_that_many(tmp_path):
    rows = [{"query": f"q{i}", "positive": f"p{i}"} for i in range(20)]
    tiny.write_jsonl(tmp_path / "p.jsonl", rows)
    (few,), _ = recipes.load_examples(recipe(Data("p.jsonl", "pairs", limit=5)), tmp_path)
    assert len(few) == 5 and len(set(few)) == 5


# --- Evaluation text stays out ---------------------------------------------------------------------

HELD_OUT = "In the spring of 1903, the two brothers from Dayton moved their workshop to the coast."


@pytest.mark.parametrize(
    "text, kept",
    [
        ("Later THE TWO BROTHERS from dayton -- moved their workshop away.", False),  # eight words, whatever the case
        ("Later the two brothers from Dayton moved their house away.", True),  # seven words
        ("Two brothers moved.", True),
        (HELD_OUT, False),
        ("Rain and snow", False),  # a short held-out text is held out as a whole
        ("Rain and snow again", True),
    ],
)
@pytest.mark.parametrize("field", ["anchor", "positive", "negative"])
def test_overlap_with_evaluation_text_is_left_out(tmp_path, field, text, kept):
    tiny.write_jsonl(tmp_path / "a.jsonl", [ROW, {**ROW, field: text}, ROW, ROW])
    data = recipe(Data("a.jsonl", "triplets"))
    (examples,), dropped = recipes.load_examples(data, tmp_path, [HELD_OUT, "Rain and snow."])
    assert dropped == {"a.jsonl": int(not kept)}
    assert (text in {getattr(e, field) for e in examples}) == kept
    assert len(examples) == 3 + kept


def test_overlap_is_found_however_letters_were_typed_and_in_any_script(tmp_path):
    texts = ["Ein Tag in Zürich.", "नमस्ते दुनिया"]
    typed = ["ein tag in zu\u0308rich", "नमस्ते, दुनिया!"]
    rows = [{**ROW, "anchor": text} for text in typed] + [ROW, ROW]
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    (examples,), dropped = recipes.load_examples(recipe(Data("a.jsonl", "triplets")), tmp_path, texts)
    assert len(examples) == 2 and dropped == {"a.jsonl": 2}
    with pytest.raises(TypeError, match="evaluation_texts must be a list; got a single string"):
        recipes.load_examples(recipe(Data("a.jsonl", "triplets")), tmp_path, texts[0])


def test_recipes_and_data_saved_on_windows_are_read_and_other_encodings_are_named(tmp_path):
    path = write_recipe(tmp_path)
    expected = recipes.read(path)
    sound = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + sound.replace(b"\n", b"\r\n"))
    assert recipes.read(path) == expected
    path.write_text(sound.decode(), encoding="utf-16")
    with pytest.raises(ValueError, match=r"mine.toml is UTF-16 text: save it as UTF-8"):
        recipes.read(path)
    path.write_bytes(sound + b"# caf\xe9\n")
    with pytest.raises(ValueError, match=r"mine.toml, line \d+ is not UTF-8 text .*; save the file as UTF-8"):
        recipes.read(path)
    data = tmp_path / "a.jsonl"
    data.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\r\n")
    assert recipes.read_rows(data, recipes.FORMS["triplets"]) == [ROW]


def test_rows_that_cannot_be_written_leave_the_older_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert recipes.write_rows(path, [ROW, ROW]) == 2
    with pytest.raises(ValueError, match="rows.jsonl, row 2 is not valid Unicode"):
        recipes.write_rows(path, [ROW, {"anchor": "\ud83d"}])
    assert len(recipes.read_rows(path, ["anchor"])) == 2 and [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_shingles():
    assert recipes.shingles("A b, C! d", 3) == {("a", "b", "c"), ("b", "c", "d")}
    assert recipes.shingles("A b", 3) == {("a", "b")}
    assert recipes.shingles(" ... ") == set()


# --- Labelled data ---------------------------------------------------------------------------------


def labelled_rows():
    """Three domains of different size with three intents each; one text occurs twice."""
    sizes = {"bank": 10, "travel": 6, "home": 2}
    rows = [
        {"text": f"{domain} {intent} {i}", "domain": domain, "intent": f"{domain}-{intent}"}
        for domain, n in sizes.items()
        for intent in "abc"
        for i in range(n)
    ]
    return [*rows, dict(rows[0]), dict(rows[-1]), {"text": "alone", "domain": "home", "intent": "alone"}]


@pytest.mark.parametrize("seed", range(5))
def test_labelled(tmp_path, seed):
    rows = labelled_rows()
    tiny.write_jsonl(tmp_path / "l.jsonl", rows)
    intent = {row["text"]: row["intent"] for row in rows}
    domain = {row["text"]: row["domain"] for row in rows}
    data = Data("l.jsonl", "labelled", label="intent", within="domain", instruction="intent")
    (examples,), _ = recipes.load_examples(recipe(data, seed=seed), tmp_path)
    assert len(examples) > len(rows) / 2
    for e in examples:
        assert e.anchor != e.positive and intent[e.anchor] == intent[e.positive] == e.group
        assert e.instruction == e.positive_instruction == "intent"
        if e.negative is not None:
            assert intent[e.negative] != e.group and domain[e.negative] == domain[e.anchor]
    assert sum(e.negative is not None for e in examples) > len(examples) / 2
    assert "alone" not in {e.anchor for e in examples}  # nothing to pair it with


def test_labelled_without_second_label_has_no_hard_negatives(tmp_path):
    tiny.write_jsonl(tmp_path / "l.jsonl", labelled_rows())
    (examples,), _ = recipes.load_examples(recipe(Data("l.jsonl", "labelled", label="domain")), tmp_path)
    assert {e.negative for e in examples} == {None}
    assert {e.group for e in examples} == {"bank", "travel", "home"}


# --- Batches ---------------------------------------------------------------------------------------


def examples(name, n):
    return [Example(f"{name}{i} " + "x" * (7 * i % 50), f"{name}{i}+") for i in range(n)]


def take(seed, steps=12):
    return list(grouped.batches([examples("a", 40), examples("b", 9)], [3.0, 1.0], 4, steps, seed))


def test_batches_depend_on_the_seed_alone():
    assert take(1) == take(1)
    assert take(1)[:5] == take(1, steps=5)  # and not on how far one goes
    assert take(1) != take(2)


def test_batches_come_from_one_set_each_in_proportion():
    drawn = take(3, steps=400)
    assert {len(batch) for batch in drawn} == {4}
    names = [{e.anchor[0] for e in batch} for batch in drawn]
    assert all(len(name) == 1 for name in names)
    share = sum(name == {"a"} for name in names) / len(names)
    assert 0.68 < share < 0.82  # three to one


def test_an_epoch_uses_every_example_once():
    drawn = list(grouped.batches([examples("a", 40)], [1.0], 4, 20, 0))
    for epoch in (drawn[:10], drawn[10:]):
        assert Counter(e.anchor for batch in epoch for e in batch) == Counter(e.anchor for e in examples("a", 40))
    assert drawn[:10] != drawn[10:]


def test_batches_are_of_similar_length():
    def spread(batch):
        lengths = [len(e.anchor) + len(e.positive) for e in batch]
        return max(lengths) - min(lengths)

    data = examples("a", 64)
    drawn = list(grouped.batches([data], [1.0], 4, 16, 0))
    assert max(map(spread, drawn)) < spread(data) / 3


# --- Hard negatives --------------------------------------------------------------------------------


def test_mined_negatives_are_near_but_not_the_own_positive(tmp_path):
    animals = ["heron", "badger", "falcon", "otter"]
    places = ["river", "forest", "cliff", "lake", "harbour", "meadow"]
    rows = [
        {"query": f"where does the {a} of the {p} sleep", "positive": f"The {a} rests near the {p}, at {i}{j}."}
        for i, a in enumerate(animals)
        for j, p in enumerate(places)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (mined,), _ = recipes.load_examples(recipe(Data("a.jsonl", "pairs", mine=True)), tmp_path)
    (again,), _ = recipes.load_examples(recipe(Data("a.jsonl", "pairs", mine=True)), tmp_path)
    assert mined == again  # the seed decides
    positives = {row["positive"] for row in rows}
    assert all(e.negative in positives - {e.positive} for e in mined)
    words = {*animals, *places}
    for e in grouped.mine_negatives([e._replace(negative=None) for e in mined], random.Random(0), depth=6):
        assert words & set(e.anchor.split()) & set(e.negative.replace(",", "").split())  # true of 8 in 23 at random


def test_mining_needs_pairs(tmp_path):
    with pytest.raises(ValueError, match="a.jsonl has the form 'triplets'; negatives are mined for 'pairs' only"):
        recipes.read(write_recipe(tmp_path, data=DATA + "mine = true"))
    assert not recipes.read(write_recipe(tmp_path, data=DATA + "mine = false")).data[0].mine


# --- Topics, sentences as queries, instructions of their own ---------------------------------------


def test_batches_of_one_topic(tmp_path):
    subjects = {"bird": "feather wing nest egg", "ship": "sail mast harbour anchor", "bread": "flour oven yeast crust"}
    rows = [
        {"query": f"question {i} {name}", "positive": f"{w} {v} {name} {i}"}
        for name, words in subjects.items()
        for i, (w, v) in enumerate((w, v) for w in words.split() for v in words.split())
    ]
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    (examples,), _ = recipes.load_examples(recipe(Data("a.jsonl", "pairs", topics=True), batch_size=16), tmp_path)
    seen = {(e.topic, e.anchor.split()[-1]) for e in examples}
    assert len(seen) == len({topic for topic, _ in seen}) == 3  # a topic has one subject, and a subject one topic
    drawn = list(grouped.batches([examples], [1.0], 8, 12, 0))
    assert all(len({e.topic for e in batch}) == 1 for batch in drawn)
    for epoch in (drawn[:6], drawn[6:]):
        assert Counter(e.anchor for batch in epoch for e in batch) == Counter(e.anchor for e in examples)
    assert drawn[:6] != drawn[6:]


def test_a_file_may_be_for_some_stages_only(tmp_path):
    data = DATA + "stages = [1]\n" + DATA.replace("a.jsonl", "b.jsonl")
    first, second = recipes.read(write_recipe(tmp_path, stage=STAGE + STAGE, data=data)).data
    assert [recipes.in_stage(first, number) for number in (1, 2)] == [True, False]
    assert [recipes.in_stage(second, number) for number in (1, 2)] == [True, True]
    with pytest.raises(ValueError, match=r"stages of a.jsonl must be numbers from 1 to 1; got \[1, 3\]"):
        recipes.read(write_recipe(tmp_path, data=DATA + "stages = [1, 3]"))
    with pytest.raises(ValueError, match=r"no \[\[data\]\] entry is for stage 2"):
        recipes.read(write_recipe(tmp_path, stage=STAGE + STAGE, data=DATA + "stages = [1]"))


def test_batches_of_one_instruction(tmp_path):
    rows = [
        {"anchor": f"a{i}", "positive": f"p{i}", "negative": f"n{i}", "instruction": f"look {i % 3}"} for i in range(24)
    ]
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    entry = Data("a.jsonl", "triplets", one_instruction=True)
    (examples,), _ = recipes.load_examples(recipe(entry, batch_size=8), tmp_path)
    drawn = list(grouped.batches([examples], [1.0], 4, 6, 0))
    assert all(len({e.instruction for e in batch}) == 1 for batch in drawn)
    assert Counter(e.anchor for batch in drawn for e in batch) == Counter(row["anchor"] for row in rows)


def test_batches_of_one_instruction_are_for_rows_that_bring_theirs(tmp_path):
    for form, more in (("pairs", ""), ("triplets", "topics = true\n")):
        data = DATA.replace("triplets", form) + more + "one_instruction = true"
        with pytest.raises(ValueError, match="a.jsonl has 'one_instruction'"):
            recipes.read(write_recipe(tmp_path, data=data))


def test_hard_negatives_are_made_in_one_way_only(tmp_path):
    both = DATA.replace("triplets", "pairs") + "mine = true\ntopics = true"
    with pytest.raises(ValueError, match="a.jsonl has both 'mine' and 'topics'"):
        recipes.read(write_recipe(tmp_path, data=both))


def test_cloze_takes_sentences_out_of_their_passage(tmp_path):
    passages = [
        " ".join(f"Sentence {i} of passage {p} has these words." for i in "one two three four five".split())
        for p in range(60)
    ]
    short = "Only two sentences here are not enough. This is the second and last one."
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"query": "who", "positive": p} for p in [*passages, passages[0], short]])
    (examples,), _ = recipes.load_examples(recipe(Data("a.jsonl", "cloze", instruction="source")), tmp_path)
    assert len(examples) == 2 * 60  # two sentences of each passage, once
    whole = 0
    for e in examples:
        assert e.anchor in e.group and e.group in passages and e.instruction == "source"
        if e.positive == e.group:
            whole += 1
        else:
            assert e.anchor not in e.positive
            assert len(e.positive.split()) == len(e.group.split()) - len(e.anchor.split())
    assert 0 < whole < 30  # one in ten keeps its sentence


def test_a_row_of_triplets_may_bring_its_own_instruction_and_group(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{**ROW, "instruction": "tone", "group": "calm"}, ROW])
    (examples,), _ = recipes.load_examples(recipe(Data("a.jsonl", "triplets", instruction="meaning")), tmp_path)
    told = {(e.instruction, e.positive_instruction, e.group) for e in examples}
    assert told == {("tone", "tone", "calm"), ("meaning", "meaning", None)}


# --- A teacher -------------------------------------------------------------------------------------

TEACHER = '[teacher]\nname = "minilm"\n'
TEXTS = '[[data]]\nfile = "t.jsonl"\nform = "unlabelled"\n'


def test_a_recipe_may_name_a_teacher(tmp_path):
    settings = TEACHER + 'loss = "margin"\nweight = 3\ntemperature = 0.1\n'
    read = recipes.read(write_recipe(tmp_path, data=settings + DATA))
    assert read.teacher == TeacherTerm("minilm", "margin", 3, 0.1)
    assert recipes.read(write_recipe(tmp_path, data=TEACHER + DATA)).teacher == TeacherTerm("minilm")
    assert recipes.as_dict(read)["teacher"] == {"name": "minilm", "loss": "margin", "weight": 3, "temperature": 0.1}


def test_pairs_may_be_mined_by_a_teacher(tmp_path):
    pairs = DATA.replace("triplets", "pairs")
    mined = recipes.read(write_recipe(tmp_path, data=pairs + "mine = {margin = 0.9, k = 2}\ntopics = true")).data[0]
    assert mined.mine == Mine("minilm", 2, 0.9) and mined.topics
    assert recipes.read(write_recipe(tmp_path, data=pairs + "mine = {}")).data[0].mine == Mine()


@pytest.mark.parametrize(
    "data, message",
    [
        ("teacher = 3\n" + STAGE + DATA, "mine.toml, teacher must be a table of keys; got 3"),
        (TEACHER + "wieght = 2\n" + DATA, "mine.toml, teacher: unknown key 'wieght'; known keys: .*weight"),
        (TEACHER.replace("minilm", "mini") + DATA, "mine.toml: unknown teacher 'mini'; choose from .*minilm"),
        (TEACHER + 'loss = "mse"\n' + DATA, "unknown loss 'mse' of the teacher; choose from .*distribution.*margin"),
        (TEACHER + "temperature = 0\n" + DATA, "mine.toml, teacher: temperature must be positive; got 0"),
        ("[teacher]\n" + DATA, "mine.toml, teacher: .*name"),
        (TEXTS, r"t.jsonl has the form 'unlabelled': it needs a \[teacher\] with the loss 'distribution'"),
        (TEACHER + TEXTS + "teacher = false\n", r"t.jsonl has the form 'unlabelled': it needs a \[teacher\]"),
        (TEACHER + 'loss = "margin"\n' + TEXTS, r"t.jsonl has the form 'unlabelled': it needs a \[teacher\]"),
        (DATA + 'column = "gloss"', "a.jsonl has the form 'triplets'; 'column' is for 'unlabelled' only"),
        (DATA.replace("triplets", "pairs") + "mine = {depth = 3}", "data 1, mine: unknown key 'depth'; .*margin"),
        (DATA.replace("triplets", "pairs") + 'mine = {name = "x"}', "unknown teacher 'x'; choose from"),
        (DATA + "mine = {}", "a.jsonl has the form 'triplets'; negatives are mined for 'pairs' only"),
    ],
)
def test_a_wrong_teacher_is_refused(tmp_path, data, message):
    stage = "" if "[[stage]]" in data else STAGE
    with pytest.raises(ValueError, match=message):
        recipes.read(write_recipe(tmp_path, stage=stage, data=data))


def test_a_data_file_may_keep_the_teacher_out(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"anchor": a, "positive": a.upper(), "negative": "x"} for a in "pqr"])
    read = recipes.read(write_recipe(tmp_path, data=TEACHER + DATA + "teacher = false\n" + DATA))
    assert [d.teacher for d in read.data] == [False, None]
    assert ["teacher" in d for d in recipes.as_dict(read)["data"]] == [True, False]
    two = recipe(Data("a.jsonl", "triplets", teacher=False), Data("a.jsonl", "triplets"))
    quiet, guided = recipes.load_examples(two, tmp_path)[0]
    assert {e.guided for e in quiet} == {False} and {e.guided for e in guided} == {True}


def test_masked_prediction_needs_no_teacher_for_texts(tmp_path):
    stage = STAGE.replace("contrastive", "mntp")
    assert recipes.read(write_recipe(tmp_path, stage=stage, data=TEXTS)).data[0].form == "unlabelled"
    with pytest.raises(ValueError, match="t.jsonl has the form 'unlabelled'"):
        recipes.read(write_recipe(tmp_path, stage=stage + STAGE, data=TEXTS))


@pytest.mark.parametrize("path", sorted(recipes.RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_without_a_teacher_is_recorded_as_ever(path):
    """What ``training.json`` says of a recipe is what it said before recipes knew teachers: word by word."""
    read = recipes.read(path)
    if read.teacher is None and not any(d.column for d in read.data):
        before = asdict(read)
        assert before.pop("teacher") is None and before.pop("first_layer") is None
        assert all(d.pop("column") is None and d.pop("teacher") is None for d in before["data"])
        assert json.dumps(recipes.as_dict(read)) == json.dumps(before)
    assert ("teacher" in recipes.as_dict(read)) == (read.teacher is not None)


def test_texts_alone(tmp_path):
    tiny.write_jsonl(tmp_path / "t.jsonl", [{"text": "one"}, {"text": "two"}, {"text": "one"}])
    tiny.write_jsonl(tmp_path / "g.jsonl", [{"gloss": "icy"}, {"gloss": "cold"}])
    data = [
        Data("t.jsonl", "unlabelled", instruction="meaning"),
        Data("g.jsonl", "unlabelled", column="gloss"),
    ]
    texts, glosses = recipes.load_examples(recipe(*data), tmp_path)[0]
    assert sorted(texts) == [Example(t, t, None, "meaning", "meaning", unlabelled=True) for t in ("one", "two")]
    assert sorted(e.anchor for e in glosses) == ["cold", "icy"]
    with pytest.raises(ValueError, match=r"t.jsonl, line 1: needs a non-empty text under 'gloss'"):
        recipes.load_examples(recipe(Data("t.jsonl", "unlabelled", column="gloss")), tmp_path)


@pytest.mark.parametrize("form", ["unlabelled", "pairs"])
def test_evaluation_text_reaches_no_teacher(tmp_path, monkeypatch, form):
    """Neither as a text alone, nor as a passage from which negatives are mined."""
    seen = []

    class Listening:
        def __init__(self, name):
            assert name == "minilm"

        def encode(self, texts):
            texts = list(texts)
            seen.extend(texts)
            return np.eye(len(texts), 9)

    monkeypatch.setattr("course_utils.training.teacher.Teacher", Listening)
    texts = [HELD_OUT, "The two brothers from Dayton moved their workshop.", "Rain and snow", "A cat", "A dog", "It"]
    rows = [{"text": t} if form == "unlabelled" else {"query": "who", "positive": t} for t in texts]
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    entry = Data("a.jsonl", form, mine=Mine(margin=1.0) if form == "pairs" else False)
    (kept,), dropped = recipes.load_examples(recipe(entry), tmp_path, [HELD_OUT, "Rain and snow."])
    clean = {"A cat", "A dog", "It"}
    assert dropped == {"a.jsonl": 3} and {e.positive for e in kept} == clean
    assert set(seen) == ({"who", *clean} if form == "pairs" else set())
    assert {e.negative for e in kept} <= {*clean, None}


def test_negatives_by_a_teachers_eye(tmp_path, monkeypatch):
    """Nearest first, none that is nearly as good as the own passage, and none held against whom it answers."""
    places = {"q": [1, 0], "right": [0.8, 0.6], "too near": [0.79, 0.613], "near": [0.6, 0.8], "far": [-1, 0]}

    class Planar:
        def __init__(self, name):
            pass

        def encode(self, texts):
            return np.array([places[text] for text in texts], dtype=float)

    monkeypatch.setattr("course_utils.training.teacher.Teacher", Planar)
    pairs = [Example("q", "right"), *(Example(p, p) for p in ("too near", "near", "far"))]
    drawn = {grouped.mine_with_teacher(pairs, random.Random(seed), k=2)[0].negative for seed in range(20)}
    assert drawn == {"near", "far"}
    (first, *_) = grouped.mine_with_teacher(pairs, random.Random(0), k=1)
    assert first == Example("q", "right", "near", group="right", negative_group="near")
    own = Example("q", "right", "given")
    assert grouped.mine_with_teacher([own, *pairs[1:]], random.Random(0))[0].negative == "given"

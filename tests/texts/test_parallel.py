"""The course's parallel sentences: the validator finds every kind of fault, and the shipped file has none."""

import copy
import json
import subprocess
import sys
import unicodedata
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from repo import ROOT

from course_utils.__main__ import main
from course_utils.models import prompts
from course_utils.texts import datasets, parallel
from course_utils.training import recipes

GOOD = {
    "id": "home-01",
    "kind": "everyday",
    "subject": "home",
    "text": {
        "en": "The cat drinks milk.",
        "zh": "猫喝牛奶。",
        "es": "El gato bebe leche.",
        "de": "Die Katze trinkt Milch.",
        "fr": "Le chat boit du lait.",
        "ar": "تشرب القطة الحليب.",
        "hi": "बिल्ली दूध पीती है।",
        "sw": "Paka hunywa maziwa.",
    },
    "keys": {
        "en": ["cat", "milk"],
        "zh": ["猫", "牛奶"],
        "es": ["gato", "leche"],
        "de": ["Katze", "Milch"],
        "fr": ["chat", "lait"],
        "ar": ["قطة", "حليب"],
        "hi": ["बिल्ली", "दूध"],
        "sw": ["Paka", "maziwa"],
    },
}
OTHER = {
    "id": "home-02",
    "kind": "encyclopedic",
    "subject": "home",
    "text": {
        "en": "Where is the door?",
        "zh": "门在哪里？",
        "es": "¿Dónde está la puerta?",
        "de": "Wo ist die Tür?",
        "fr": "Où est la porte ?",
        "ar": "أين الباب؟",
        "hi": "दरवाज़ा कहाँ है?",
        "sw": "Mlango uko wapi?",
    },
    "keys": {
        "en": ["door"],
        "zh": ["门"],
        "es": ["puerta"],
        "de": ["Tür"],
        "fr": ["porte"],
        "ar": ["باب"],
        "hi": ["दरवाज़ा"],
        "sw": ["Mlango"],
    },
}
OTHER = json.loads(unicodedata.normalize("NFC", json.dumps(OTHER, ensure_ascii=False)))


def write(tmp_path, *lines):
    path = tmp_path / "own.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


def changed(**at):
    """OTHER with other values: ``changed(text__zh="...")`` sets ``["text"]["zh"]``; ``None`` removes the entry."""
    row = copy.deepcopy(OTHER)
    for place, value in at.items():
        *parents, last = place.split("__")
        target = row[parents[0]] if parents else row
        if value is None:
            del target[last]
        else:
            target[last] = value
    return row


# --- The validator --------------------------------------------------------------------------------


def test_sound_lines_pass(tmp_path):
    path = write(tmp_path, GOOD, OTHER)
    assert parallel.problems(path) == []
    assert parallel.read(path) == [GOOD, OTHER]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"text__hi": None}, "'text' must have the languages en, zh, es, de, fr, ar, hi, sw; got en, zh, es, de, fr"),
        ({"keys__sw": None}, "'keys' must have the languages"),
        ({"text__it": "Dov'è la porta?"}, "'text' must have the languages"),
        ({"text": "Where is the door?"}, "'text' must have the languages"),
        ({"text__de": ""}, "German: the text is empty"),
        ({"text__de": "  "}, "German: the text is empty"),
        ({"text__de": 5}, "German: the text is empty or no string: 5"),
        ({"keys__fr": ["fenêtre"]}, "French: the key 'fenêtre' does not stand in"),
        ({"keys__en": ["Door"]}, "English: the key 'Door' does not stand in"),
        ({"keys__en": ["oor"]}, "the key 'oor' is only a part of a word"),
        ({"keys__hi": ["दरवाज़"]}, "the key 'दरवाज़' is only a part of a word"),
        ({"keys__ar": ["با"]}, "the key 'با' is only a part of a word"),
        ({"keys__en": ["door", "Where"]}, "the languages differ in the number of keys: most have 1, en has 2"),
        ({"keys__en": []}, "English: expected a list of 1 to 3 keys; got []"),
        ({"keys__en": "door"}, "English: expected a list of 1 to 3 keys; got 'door'"),
        ({"keys__en": ["door", "door"]}, "a key is marked twice"),
        ({"keys__en": [" "]}, "a key is empty"),
        ({"id": "home-01"}, "the id 'home-01' stands in line 1 already"),
        ({"text__sw": GOOD["text"]["sw"]}, "the sentence 'Paka hunywa maziwa.' stands in line 1, Swahili already"),
        ({"text__sw": OTHER["text"]["en"]}, "the sentence 'Where is the door?' stands in line 2, English already"),
        ({"text__zh": "Mén在哪里？"}, "Chinese: 'M' (U+004D LATIN CAPITAL LETTER M) is not CJK script"),
        ({"text__zh": "門在哪里？"}, "Chinese: '門' (U+9580 CJK UNIFIED IDEOGRAPH-9580) is no letter of this language"),
        ({"text__ar": "این الباب؟"}, "Arabic: 'ی' (U+06CC ARABIC LETTER FARSI YEH) is no letter of this language"),
        ({"text__ar": "Where الباب؟"}, "Arabic: 'W' (U+0057 LATIN CAPITAL LETTER W) is not ARABIC script"),
        ({"text__hi": "دروازہ कहाँ है?"}, "is not DEVANAGARI script"),
        ({"text__en": "Where is the dооr?"}, "English: 'о' (U+043E CYRILLIC SMALL LETTER O) is not LATIN script"),
        ({"text__en": "Wo ist die Tür?"}, "English: 'ü' (U+00FC LATIN SMALL LETTER U WITH DIAERESIS) is no letter"),
        ({"text__de": unicodedata.normalize("NFD", "Wo ist die Tür?")}, "German: not in Unicode normal form NFC"),
        ({"text__hi": "दरवा\u095bा कहाँ है?"}, "Hindi: not in Unicode normal form NFC"),
        ({"text__en": "Where is the\u200b door?"}, "'\\u200b' (U+200B ZERO WIDTH SPACE) is no sign"),
        ({"text__fr": "Où est la porte\u00a0?"}, "'\\xa0' (U+00A0 NO-BREAK SPACE) is no sign"),
        ({"text__ar": "\u200fأين الباب؟"}, "(U+200F RIGHT-TO-LEFT MARK) is no sign"),
        ({"text__zh": "门在哪里?"}, "Chinese: must end with one of 。 ？ ！; ends with '?' (U+003F QUESTION MARK)"),
        ({"text__ar": "أين الباب?"}, "Arabic: must end with"),
        ({"text__hi": "दरवाज़ा वहाँ है."}, "Hindi: must end with"),
        ({"text__en": "Where is  the door?"}, "spaces at the ends or two in a row"),
        ({"kind": "poem"}, "'kind' must be one of everyday, encyclopedic; got 'poem'"),
        ({"subject": ""}, "'subject' must be a name; got ''"),
        ({"id": 3}, "'id' must be a name; got 3"),
        ({"note": "new"}, "must be a JSON object with exactly id, kind, subject, text, keys; got id, kind"),
        ({"keys": None}, "must be a JSON object with exactly"),
    ],
)
def test_every_fault_is_named_with_file_and_line(tmp_path, fault, said):
    path = write(tmp_path, GOOD, changed(**fault))
    found = parallel.problems(path)
    assert found and all(line.startswith(f"{path}, line 2: ") for line in found), found
    assert any(said in line for line in found), found
    with pytest.raises(ValueError, match="own.jsonl, line 2: "):
        parallel.read(path)


@pytest.mark.parametrize(
    ("line", "said"), [("{", "not valid JSON"), ("", "empty; remove it"), ("[1]", "must hold a JSON object")]
)
def test_a_malformed_or_empty_line_is_named_and_the_rest_is_still_checked(tmp_path, line, said):
    found = parallel.problems(write(tmp_path, GOOD, line, changed(kind="poem")))
    assert len(found) == 2
    assert ", line 2: " in found[0] and said in found[0]
    assert ", line 3: 'kind'" in found[1]


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = write(tmp_path, GOOD)
    path.write_bytes(path.read_bytes() + b'{"id": "\xff"}\n')
    with pytest.raises(ValueError, match=r"own.jsonl, line 2 is not UTF-8 text \(invalid start byte\)"):
        parallel.problems(path)


def test_an_empty_file_and_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match="the file is empty"):
        parallel.read(write(tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        parallel.read(tmp_path / "other.jsonl")


def test_a_long_list_of_faults_is_cut_and_counted(tmp_path):
    path = write(tmp_path, *(changed(id=f"home-{i}", kind="poem") for i in range(9)))
    with pytest.raises(ValueError, match=f"and {len(parallel.problems(path)) - 5} more$"):
        parallel.read(path)


def test_scripts_are_told_apart():
    assert [parallel.script(letter) for letter in "aß病بक"] == ["LATIN", "LATIN", "CJK", "ARABIC", "DEVANAGARI"]
    assert parallel.script("ि") == "DEVANAGARI"  # a vowel sign, no letter by itself
    assert parallel.script("\ue000") == "UNNAMED"


def test_the_command_line_checks_a_file(tmp_path):
    def run(*files):
        return CliRunner().invoke(main, ["data", "check-parallel", *map(str, files)])

    good = run()
    assert good.exit_code == 0 and "120 sentences in 8 languages, no fault\nkind: " in good.stdout
    bad = run(write(tmp_path, GOOD, changed(id="home-01")))
    assert bad.exit_code == 1 and "line 2: the id 'home-01' stands in line 1 already" in bad.stdout
    missing = run(tmp_path / "other.jsonl")
    assert missing.exit_code == 1 and "does not exist" in missing.stderr


def test_the_command_runs_as_a_program():
    command = [sys.executable, "-m", "course_utils", "data", "check-parallel"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "no fault" in done.stdout, done.stderr


# --- The shipped file -----------------------------------------------------------------------------


def test_the_shipped_file_has_no_fault():
    assert parallel.problems() == []


def test_lessons_get_the_same_sentences_in_the_same_order():
    english, rows = parallel.sentences("en"), parallel.rows()
    assert len(english) == 120
    for language in parallel.LANGUAGES:
        assert parallel.sentences(language) == [row["text"][language] for row in rows]
        assert [len(marked) for marked in parallel.keys(language)] == [len(marked) for marked in parallel.keys("en")]
    place = english.index("I do not like green apples.")
    assert parallel.sentences("zh")[place] == "我不喜欢青苹果。" and parallel.keys("zh")[place] == ["喜欢", "苹果"]


def test_what_a_lesson_does_to_the_keys_does_not_change_them():
    parallel.keys("en")[0].clear()
    assert parallel.keys("en")[0]


@pytest.mark.parametrize("read", [parallel.sentences, parallel.keys])
def test_an_unknown_language_is_named_with_the_choice(read):
    with pytest.raises(ValueError, match="no language 'it'; choose one of: en, zh, es"):
        read("it")


def test_every_language_has_a_prompt_in_its_own_script_read_at_the_same_token():
    assert list(parallel.ONE_WORD) == list(parallel.LANGUAGES)
    assert parallel.ONE_WORD["en"] == (prompts.ONE_WORD.prefix, prompts.ONE_WORD.suffix)
    assert len({"".join(prompt) for prompt in parallel.ONE_WORD.values()}) == len(parallel.LANGUAGES)
    for language, (before, after) in parallel.ONE_WORD.items():
        assert before.endswith(' : "') and after.startswith('" ') and after.endswith(':"')
        letters = [sign for sign in before + after if unicodedata.category(sign)[0] in "LM"]
        assert {parallel.script(sign) for sign in letters} == {parallel.SCRIPTS[language]}


def test_kinds_and_subjects_are_balanced():
    assert Counter(row["kind"] for row in parallel.rows()) == {"everyday": 60, "encyclopedic": 60}
    subjects = Counter(row["subject"] for row in parallel.rows())
    assert len(subjects) == 12 and set(subjects.values()) == {10}
    kinds = {(row["subject"], row["kind"]) for row in parallel.rows()}
    assert len(kinds) == 12, "a subject is of one kind"


def test_english_sentences_have_six_to_fourteen_words():
    wrong = [text for text in parallel.sentences("en") if not 6 <= len(text.split()) <= 14]
    assert not wrong


def test_translations_agree_on_what_is_a_question():
    for row in parallel.rows():
        asked = {language: text[-1] in "?？؟" for language, text in row["text"].items()}
        assert len(set(asked.values())) == 1, row["id"]


def test_each_language_keeps_its_own_punctuation():
    for text in parallel.sentences("es"):
        assert text.startswith("¿") == text.endswith("?"), text
    for text in parallel.sentences("fr"):
        assert text.endswith(" ?") == text.endswith("?"), text
    assert not any("?" in text for text in parallel.sentences("zh") + parallel.sentences("ar"))
    assert not any("." in text for text in parallel.sentences("zh") + parallel.sentences("hi"))


def test_translations_are_of_similar_length():
    # A line that was cut stands out by its ratio, a language that slipped by a line by its correlation.
    english = np.array([len(text) for text in parallel.sentences("en")])
    for language in parallel.LANGUAGES:
        own = np.array([len(text) for text in parallel.sentences(language)])
        ratio = own / english * english.sum() / own.sum()
        assert 0.4 < ratio.min() and ratio.max() < 2, (language, ratio.min(), ratio.max())
        assert np.corrcoef(own, english)[0, 1] > 0.3 > np.corrcoef(np.roll(own, 1), english)[0, 1], language


def test_nothing_overlaps_with_the_wikipedia_sentences():
    wikipedia = set().union(*(recipes.shingles(text) for text in datasets.wikipedia_sentences()))
    assert not [text for text in parallel.sentences("en") if recipes.shingles(text) & wikipedia]


def test_the_data_card_tells_origin_sizes_limits_and_licence():
    card = parallel.FILE.with_suffix(".md").read_text(encoding="utf-8")
    promised = ["large language model", "not been checked by native speakers", "CC BY 4.0", "must not be used for"]
    promised += ["Back-translation spot check", str(len(parallel.rows())), *parallel.LANGUAGES.values()]
    promised += [str(sum(map(len, parallel.keys("en"))))]
    for phrase in promised:
        assert phrase in card, phrase
    for language, name in parallel.LANGUAGES.items():
        letters = sum(map(len, parallel.sentences(language)))
        row = next(line for line in card.splitlines() if line.startswith(f"| {name} "))
        assert f" {letters:,} ".replace(",", " ") in row, f"{name}: {letters} characters"

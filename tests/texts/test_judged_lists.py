"""Lists of judged word pairs: which ask for what, and files that are wrong."""

import json

import pytest

from course_utils.texts import word_lists
from course_utils.texts.datasets import word_pairs


def _folder(tmp_path, score=3.5):
    for source in word_lists.LISTS.values():
        if source.file:
            rows = [{"word1": "tea", "word2": "coffee", "score": 8}, {"word1": "tea", "word2": "cup", "score": score}]
            (tmp_path / source.file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_without_a_folder_there_are_the_two_lists_of_gensim():
    found = word_lists.read()
    assert list(found) == ["simlex999", "wordsim353"] and found["simlex999"].left == word_pairs("simlex999").left


def test_every_similarity_list_meets_every_relatedness_list():
    pairs = word_lists.PAIRS_OF_LISTS
    assert len(pairs) == len(set(pairs)) == 9 and pairs[0] == ("simlex999", "wordsim353")
    assert {word_lists.LISTS[a].asks for a, _ in pairs} == {"similarity"}
    assert {word_lists.LISTS[b].asks for _, b in pairs} == {"relatedness"}


def test_files_are_read_and_what_is_wrong_is_named(tmp_path):
    found = word_lists.read(_folder(tmp_path))
    assert list(found) == list(word_lists.LISTS) and found["men"].score.tolist() == [8, 3.5]
    with pytest.raises(ValueError, match="line 2: needs a number under 'score'; got 'high'"):
        word_lists.read(_folder(tmp_path, "high"))
    with pytest.raises((FileNotFoundError, ValueError)):
        word_lists.read(tmp_path / "nowhere")

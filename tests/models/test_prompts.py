"""What is written around a text, for every embedder that writes something."""

import pytest

from course_utils.models import prompts, registry

TEXT = "I like apple and banana"


@pytest.mark.parametrize(
    "prompt, arguments, expected",
    [
        (prompts.NO_PROMPT, {}, "{}"),
        (prompts.NO_PROMPT, {"role": "query"}, "{}"),
        (prompts.ONE_WORD, {}, 'This sentence : "{}" means in one word:"'),
        (prompts.ONE_WORD, {"role": "passage"}, 'This sentence : "{}" means in one word:"'),
        (prompts.ONE_WORD, {"instruction": "topic"}, 'The topic of this sentence : "{}" means in one word:"'),
        (prompts.BRACKETS, {"role": "query"}, "[{}]"),
        (prompts.BRACKETS, {"role": "passage"}, "{{{}}}"),
        (prompts.BRACKETS, {}, "{}"),
        (prompts.GRIT, {}, "<|embed|>\n{}"),
        (prompts.GRIT, {"instruction": "Find the topic"}, "<|user|>\nFind the topic\n<|embed|>\n{}"),
        (prompts.LLM2VEC, {}, "{}"),
        (prompts.LLM2VEC, {"instruction": "Find the topic: "}, "Find the topic: {}"),
        (prompts.POCKET_GRIT, {}, "<|im_start|><|im_end|>{}"),
        (prompts.POCKET_GRIT, {"instruction": "topic"}, "<|im_start|>topic<|im_end|>{}"),
    ],
)
def test_wrapping(prompt, arguments, expected):
    full, start, end = prompt.wrap(TEXT, **arguments)
    assert full == expected.format(TEXT)
    assert full[start:end] == TEXT


@pytest.mark.parametrize("prompt", [prompts.GRIT, prompts.LLM2VEC, prompts.ONE_WORD, prompts.POCKET_GRIT])
def test_braces_are_ordinary_characters(prompt):
    full, start, end = prompt.wrap("a {b} c", "keep {this} and {instruction}")
    assert full[start:end] == "a {b} c"
    assert "keep {this} and {instruction}" in full


@pytest.mark.parametrize("prompt", [prompts.NO_PROMPT, prompts.BRACKETS])
def test_an_instruction_that_would_be_ignored_is_refused(prompt):
    with pytest.raises(ValueError, match="takes no instruction; got 'topic'"):
        prompt.wrap(TEXT, "topic")


def test_unknown_role_is_refused():
    with pytest.raises(ValueError, match="role must be None, 'query' or 'passage'; got 'document'"):
        prompts.BRACKETS.wrap(TEXT, role="document")


def test_only_brackets_count_in_the_pooling():
    pooled = {name for name in registry.PAPER + registry.POCKET if registry.get(name).prompt.pooled}
    assert pooled == {"SGPT-msmarco", "smol-sgpt-qa"}

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


EVERY = [prompts.NO_PROMPT, prompts.BRACKETS, prompts.ONE_WORD, prompts.GRIT, prompts.LLM2VEC, prompts.POCKET_GRIT]


@pytest.mark.parametrize("prompt", EVERY)
@pytest.mark.parametrize("nothing", [None, "", " ", "\n\t"])
def test_an_empty_instruction_is_none_for_every_prompt(prompt, nothing):
    assert prompt.wrap(TEXT, nothing) == prompt.wrap(TEXT)
    assert prompt.wrap(TEXT, nothing, "query") == prompt.wrap(TEXT, role="query")


@pytest.mark.parametrize("prompt", EVERY)
@pytest.mark.parametrize("other", [float("nan"), 3, b"topic", ["topic"], {"topic": 1}])
def test_an_instruction_is_a_string(prompt, other):
    with pytest.raises(TypeError, match="instruction is .*, not a string: .*; write None for none"):
        prompt.wrap(TEXT, other)


def test_half_a_character_in_an_instruction_is_refused():
    with pytest.raises(ValueError, match="instruction is not valid Unicode"):
        prompts.LLM2VEC.wrap(TEXT, "topic \ud83d")


@pytest.mark.parametrize(
    "instruction, written",
    [("Topic:", "Topic: "), ("Topic: ", "Topic: "), ("Topic:\n", "Topic:\n"), (" Topic", " Topic "), ("a", "a ")],
)
def test_an_instruction_does_not_stick_to_the_text(instruction, written):
    assert prompts.LLM2VEC.wrap(TEXT, instruction) == (written + TEXT, len(written), len(written + TEXT))
    for prompt in (prompts.GRIT, prompts.ONE_WORD, prompts.POCKET_GRIT):  # something stands between the two
        assert prompt.wrap(TEXT, instruction)[0] == prompt.instructed.replace("{instruction}", instruction) + TEXT + (
            prompt.suffix
        )


def test_a_prompt_of_ones_own_says_where_the_instruction_goes():
    assert prompts.Prompt(instructed='{"about": "{instruction}"} ').wrap("a", "b")[0] == '{"about": "b"} a'
    with pytest.raises(ValueError, match=r"instructed must contain \{instruction\}"):
        prompts.Prompt(instructed="Topic: ")


@pytest.mark.parametrize("role", ["document", "", ["query"], 3])
def test_every_other_role_is_refused(role):
    with pytest.raises(ValueError, match="role must be None, 'query' or 'passage'; got .*: give one for all texts"):
        prompts.BRACKETS.wrap(TEXT, role=role)


def test_unknown_role_is_refused():
    with pytest.raises(ValueError, match="role must be None, 'query' or 'passage'; got 'document'"):
        prompts.BRACKETS.wrap(TEXT, role="document")


def test_only_brackets_count_in_the_pooling():
    pooled = {name for name in registry.PAPER + registry.POCKET if registry.get(name).prompt.pooled}
    assert pooled == {"SGPT-msmarco", "smol-sgpt-qa"}


def test_what_counts_in_the_pooling_is_one_of_three():
    assert [prompts.Prompt(pooled=value).pooled for value in (True, False, "behind")] == [True, False, "behind"]
    with pytest.raises(ValueError, match="pooled must be True, False or 'behind'; got 'all'"):
        prompts.Prompt(pooled="all")


def test_a_prompt_may_know_further_roles():
    prompt = prompts.Prompt(roles={"STS": ("same: ", "")})
    assert prompt.wrap("a", role="STS") == ("same: a", 6, 7)
    with pytest.raises(ValueError, match="role must be None, 'query' or 'passage', 'STS'; got 'sts'"):
        prompt.wrap("a", role="sts")

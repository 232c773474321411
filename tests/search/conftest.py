"""The tiny collection of tests/benches.py, as fixtures."""

import pytest
from benches import tiny_bench, tiny_collection, tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def collection():
    return tiny_collection()


@pytest.fixture
def bench(collection, tokenizer):
    return tiny_bench(collection, tokenizer)

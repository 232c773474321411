"""What all tests share."""

import os

# Before transformers is imported anywhere: a test that asks a model hub is a broken test.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

"""Draw the picture of the finding for the README: docs/finding.png.

One text, three embeddings of it: by the untrained model, the same with its first component
taken back, and by a trained embedder; each decoded with the model's own output layer.
"""

from pathlib import Path

import numpy as np

from course_utils.measures.alignment import special_ids, top_tokens
from course_utils.measures.spectrum import components, shift
from course_utils.models.embedder import load_family
from course_utils.teaching.explorers.tokens import described
from course_utils.teaching.figures.tokens import token_grid
from course_utils.texts.datasets import wikipedia_sentences

TEXT = "The museum opened a new exhibition of Roman coins."
OUT = Path(__file__).resolve().parent.parent / "docs" / "finding.png"


def main() -> None:
    family = load_family(["smollm2", "smol-sgpt-nli"])
    plain, trained = family.values()
    corpus = plain.encode(wikipedia_sentences(100))
    u = components(corpus).directions[0]
    before, after = plain.encode([TEXT]), trained.encode([TEXT])
    rows = np.concatenate([before, shift(before, u, -0.75 * float((corpus @ u).mean())), after])
    ids, scores = top_tokens(rows, plain.unembedding, 8, special_ids(plain.tokenizer, len(plain.unembedding)))
    tokens, kinds = zip(*(described(plain.tokenizer, TEXT, row) for row in ids), strict=True)
    figure = token_grid(
        tokens,
        scores,
        kinds,
        ["untrained", "untrained,\nfirst component\ntaken back", "trained\n(smol-sgpt-nli)"],
        value_label="logit",
        ylabel="",
        xlabel="rank of the decoded token",
        title=f"“{TEXT}” as an embedding, decoded",
    )
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()

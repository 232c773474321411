"""Type two sentences: how close two embedders put them, and which tokens bring them together or hold them apart."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np

from course_utils.measures.contributions import TokenFrame, share_of
from course_utils.measures.evaluation import cosine
from course_utils.models.embedder import Embedder
from course_utils.teaching.explorers.page import View, answering, check_typed, live, text_box
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.tokens import chips, legend, named_rows


@dataclass(frozen=True, eq=False)
class PairReading:
    """What one embedder says about two texts.

    Attributes:
        cosine: of their embeddings.
        aligned: ids of the aligned tokens of both, ``[2, k]``.
        together: ids of the tokens that add most to the cosine, and their parts.
        apart: ids of the tokens that add most to 1 − cosine, and their parts.
        aligned_share: share of the cosine that the aligned tokens of both sides hold.
    """

    cosine: float
    aligned: np.ndarray
    together: tuple[np.ndarray, np.ndarray]
    apart: tuple[np.ndarray, np.ndarray]
    aligned_share: float


class PairView(View):
    """One embedder with what is needed to read a pair of texts.

    Attributes:
        frame: its unembedding matrix as a frame, see :func:`course_utils.measures.contributions.token_frame`.
        references: cosines of known pairs by their name, e.g. ``{"unrelated": …, "paraphrase": …}``, to place a
            new cosine among them.
    """

    def __init__(self, embedder: Embedder, frame: TokenFrame, references: Mapping[str, np.ndarray]):
        super().__init__(embedder)
        self.frame = frame
        self.references = {name: np.asarray(values, dtype=np.float64) for name, values in references.items()}

    def read(self, left: str, right: str, k: int = 8) -> PairReading:
        """Cosine, aligned tokens and the tokens' parts for two texts."""
        a, b = self.embedding(left), self.embedding(right)
        aligned = self.aligned(np.vstack([a, b]), k)
        together, apart = self.frame.tight_contributions(a, b)[0], self.frame.distances(a, b)[0]
        share = share_of(together[None], [aligned.ravel()])[0]
        largest = [self._largest(parts, k) for parts in (together, apart)]
        return PairReading(float(cosine(a, b)[0]), aligned, *largest, float(share))

    def places(self, value: float) -> dict[str, float]:
        """Which share of each kind of known pairs has a smaller cosine."""
        return {name: float((known < value).mean()) for name, known in self.references.items()}

    def _largest(self, parts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        allowed = parts.copy()
        allowed[self.special] = -np.inf
        ids = np.argsort(-allowed, kind="stable")[:k]
        return ids, parts[ids]


@answering
def pair_html(views: Mapping[str, PairView], left: str, right: str, names: Sequence[str], k: int = 8) -> str:
    """Two texts as the named embedders see them, one block each; HTML.

    Raises:
        ValueError: a name that ``views`` lacks.
    """
    unknown = [name for name in names if name not in views]
    if unknown:
        raise ValueError(f"no embedder {unknown[0]!r} here; choose from {', '.join(views)}")
    check_typed(left, right, request="Type two sentences and press Enter.")
    return "".join(_block(name, views[name], left, right, k) for name in names) + legend()


def pair_explorer(views: Mapping[str, PairView], left: str, right: str, names: Sequence[str]) -> Explorer:
    """Two sentences to type and two embedders to choose; shows :func:`pair_html`."""
    texts = [text_box(left, "Sentence 1"), text_box(right, "Sentence 2")]
    chosen = [
        widgets.Dropdown(options=list(views), value=name, description=word)
        for name, word in zip(names, ("First", "Second"), strict=True)
    ]
    result = live(lambda left, right, *names: pair_html(views, left, right, names), *texts, *chosen)
    return Explorer([*texts, widgets.HBox(chosen), result])


def _block(name: str, view: PairView, left: str, right: str, k: int) -> str:
    found = view.read(left, right, k)
    places = "; ".join(f"above {share:.0%} of the {kind} pairs" for kind, share in view.places(found.cosine).items())
    both = f"{left} {right}"
    rows = {
        "Aligned tokens, sentence 1": chips(*view.described(left, found.aligned[0])),
        "Aligned tokens, sentence 2": chips(*view.described(right, found.aligned[1])),
        "Bring them together": _parts(view, both, *found.together),
        "Hold them apart": _parts(view, both, *found.apart),
    }
    return (
        f"<p><b>{html.escape(name)}</b>: cosine {found.cosine:.2f}{': ' + places if places else ''}. "
        f"The aligned tokens of both hold {100 * found.aligned_share:.1f} % of the cosine. "
        f"Numbers beside tokens: their parts, in hundred-thousandths.</p><table>{named_rows(rows.items())}</table>"
    )


def _parts(view: PairView, text: str, ids: np.ndarray, parts: np.ndarray) -> str:
    tokens, kinds = view.described(text, ids)
    tokens = [token.replace("\r", "\\r") for token in tokens]  # a bare carriage return would vanish on the page
    return chips(tokens, kinds, notes=[f"{1e5 * part:.0f}" for part in parts])

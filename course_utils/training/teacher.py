"""A teacher: a small, well-trained text encoder that says how close two texts are, and losses that listen to it.

The teacher is all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM", arXiv 2002.10957; trained on a billion pairs by the
makers of sentence-transformers, Reimers and Gurevych 2019, arXiv 1908.10084). It has 384 dimensions of its own, so
nothing compares its embeddings with a student's; what is passed on are its *cosines*.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import kl_div, log_softmax, normalize, softmax

from course_utils import gates
from course_utils.models import store
from course_utils.models.backbone import silence
from course_utils.models.embedder import length_batches
from course_utils.training.recipes import TEACHER_LOSSES

#: Word pieces of a text that the teacher reads at most, as its publishers set it.
MAX_TOKENS = 256
#: Tokens that go through the teacher at once, padding included.
PIECE_TOKENS = 8192
#: Texts in one file of the cache; what is encoded is safe after each.
FILE_TEXTS = 2048


# --- What the teacher says ------------------------------------------------------------------------


class Teacher:
    """Encodes texts, each once: what was encoded is kept on the disk by the text's checksum.

    Args:
        name: a stored encoder (:data:`course_utils.models.weights.ENCODERS`), or the folder of one whose
            embedding is the mean over its tokens.
        cache: folder of the embeddings; by default one for these weights in the course's cache.
        device: ``"cpu"``, ``"cuda"`` …; by default a GPU if there is one.
    """

    def __init__(self, name: str | Path = "minilm", cache: Path | None = None, device: str | None = None):
        self.folder = Path(name) if Path(name).is_dir() else store.backbone(str(name))
        self.fingerprint = store.fingerprint(self.folder)
        self.cache = cache or store.cache_folder() / "teacher" / self.fingerprint[:16]
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._known: dict[str, np.ndarray] = {}
        self._model = None
        for file in sorted(self.cache.glob("*.safetensors")):
            self._read(file)

    def encode(self, texts: Iterable[str]) -> np.ndarray:
        """Embeddings of unit length, float32 ``[n, d]``.

        They are the same whether they were encoded just now or come from the disk, where a number takes two bytes.

        Raises:
            TypeError, ValueError: no list of texts (see :func:`course_utils.gates.texts`).
        """
        texts = gates.texts(texts)
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        missing = list(new)
        for start in range(0, len(missing), FILE_TEXTS):
            part = missing[start : start + FILE_TEXTS]
            self._write(part, self._encode([new[key] for key in part]))
        if not keys:
            return np.zeros((0, self._loaded()[1].config.hidden_size), dtype=np.float32)
        return np.stack([self._known[key] for key in keys]).astype(np.float32)

    def _loaded(self):
        if self._model is None:
            from transformers import AutoModel, AutoTokenizer

            with silence():
                model = AutoModel.from_pretrained(self.folder, dtype=torch.float32).to(self.device).eval()
            self._model = AutoTokenizer.from_pretrained(self.folder), model
        return self._model

    @torch.no_grad()
    def _encode(self, texts: list[str]) -> np.ndarray:
        """Mean over the tokens' states, scaled to unit length; float16 ``[n, d]``."""
        tokenizer, model = self._loaded()
        lengths = [len(ids) for ids in tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]]
        rows = np.zeros((len(texts), model.config.hidden_size), dtype=np.float16)
        for piece in length_batches(lengths, PIECE_TOKENS):
            tokens = tokenizer(
                [texts[i] for i in piece], truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt"
            ).to(self.device)
            with torch.autocast(self.device, enabled=False):  # whatever the student computes in
                states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][:, :, None]
            rows[piece] = normalize((states * mask).sum(1) / mask.sum(1), dim=1).half().cpu().numpy()
        return rows

    def _write(self, keys: list[str], rows: np.ndarray) -> None:
        from safetensors.numpy import save_file

        self.cache.mkdir(parents=True, exist_ok=True)
        path = self.cache / f"{hashlib.sha256(''.join(keys).encode()).hexdigest()[:16]}.safetensors"
        partial = path.with_suffix(f".{os.getpid()}.partial")
        save_file({"keys": np.array([list(bytes.fromhex(key)) for key in keys], dtype=np.uint8), "rows": rows}, partial)
        os.replace(partial, path)
        self._known.update(zip(keys, rows, strict=True))

    def _read(self, file: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            stored = load_file(file)
            keys, rows = (bytes(key).hex() for key in stored["keys"]), stored["rows"]
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{file} is damaged ({error}): delete it, its texts are encoded again") from None
        self._known.update(zip(keys, rows, strict=True))


# --- Losses ---------------------------------------------------------------------------------------


def distribution_matching(
    student_cosines: torch.Tensor, teacher_cosines: torch.Tensor, tau_s: float = 0.05, tau_t: float = 0.05
) -> torch.Tensor:
    """How far the student's ranking of every row's candidates is from the teacher's.

    ``L = mean_i KL( softmax(t_i / τ_t) ‖ softmax(s_i / τ_s) )`` over the rows of both cosine matrices ``[n, m]``: the
    teacher's in-batch distribution is the target (Lin, Yang and Lin 2021, "In-Batch Negatives for Knowledge
    Distillation with Tightly-Coupled Teachers for Dense Retrieval"). It is 0 where both agree and τ_s = τ_t.
    """
    target = softmax(teacher_cosines / tau_t, dim=1)
    return kl_div(log_softmax(student_cosines / tau_s, dim=1), target, reduction="batchmean")


def margin_mse(student_cosines: torch.Tensor, teacher_cosines: torch.Tensor) -> torch.Tensor:
    """How far the student's margins between a row's own candidate and every other are from the teacher's.

    ``L = mean_{i, c ≠ i} ((s_ii − s_ic) − (t_ii − t_ic))²``, for matrices ``[n, m]`` whose candidate ``i`` is row
    ``i``'s own (Hofstätter et al. 2020, arXiv 2010.02666; with all candidates of the batch as in arXiv 2104.06967).
    """
    gap = student_cosines - teacher_cosines
    squares = (gap.diagonal()[:, None] - gap) ** 2
    return squares.sum() / (squares.numel() - len(squares))


def batch_cosines(rows: torch.Tensor, n: int) -> torch.Tensor:
    """Cosines of the first ``n`` rows of ``[n + m, d]`` with the other ``m``: ``[n, m]``.

    Where there are no others, of every row with every other one, without itself: ``[n, n − 1]``.
    """
    unit = normalize(rows.float(), dim=1)
    if n < len(unit):
        return unit[:n] @ unit[n:].T
    others = ~torch.eye(n, dtype=torch.bool, device=unit.device)
    return (unit @ unit.T)[others].view(n, n - 1)


class Guidance:
    """The teacher's term of the loss, as a recipe's ``[teacher]`` describes it; added to the contrastive loss.

    Raises:
        ValueError: an unknown loss.
    """

    def __init__(self, teacher: Teacher, loss: str = "distribution", weight: float = 1.0, temperature: float = 0.05):
        if loss not in TEACHER_LOSSES:
            raise ValueError(f"unknown loss {loss!r} of the teacher; choose from {TEACHER_LOSSES}")
        self.teacher, self.loss, self.weight, self.temperature = teacher, loss, weight, temperature

    def __call__(self, embeddings: torch.Tensor, anchors: Sequence[str], candidates: Sequence[str]) -> torch.Tensor:
        """``weight`` times the loss of a batch.

        Args:
            embeddings: the student's, ``[n + m, d]``, of the anchors and then the candidates.
            anchors, candidates: their ``n`` and ``m`` texts; without candidates each text is held against the others.
        """
        rows = torch.from_numpy(self.teacher.encode([*anchors, *candidates])).to(embeddings.device)
        with torch.autocast(embeddings.device.type, enabled=False):
            student, teacher = (batch_cosines(side, len(anchors)) for side in (embeddings, rows))
            if self.loss == "margin":
                return self.weight * margin_mse(student, teacher)
            return self.weight * distribution_matching(student, teacher, self.temperature, self.temperature)


# --- Hard negatives -------------------------------------------------------------------------------


def mine_negatives(
    queries: np.ndarray, passages: np.ndarray, positives: Sequence[int], k: int = 4, margin: float = 0.95
) -> list[np.ndarray]:
    """The ``k`` passages nearest to every query that are not too near to be wrong ones.

    What the teacher scores above ``margin`` times the query's own positive is taken for an unlabelled right answer and
    left out: positive-aware mining, ``TopK-PercPos`` of NV-Retriever (Moreira et al. 2024, arXiv 2407.15831).

    Args:
        queries, passages: the teacher's embeddings of unit length, ``[n, d]`` and ``[m, d]``.
        positives: number of every query's own passage, ``n`` of them.

    Returns:
        For every query the numbers of at most ``k`` passages, hardest first; fewer where no more are allowed.

    Raises:
        ValueError: no matrices of the same width, a number that is no passage, or a senseless ``k`` or ``margin``.
    """
    queries, passages = gates.matrix(queries, "queries"), gates.matrix(passages, "passages", "[m, d]")
    own = np.asarray(positives, dtype=np.int64)
    if queries.shape[1] != passages.shape[1] or own.shape != (len(queries),):
        raise ValueError(f"need queries [n, d], passages [m, d] and n positives; got {queries.shape}, "
                         f"{passages.shape} and {own.shape}")  # fmt: skip
    if len(own) and not 0 <= own.min() <= own.max() < len(passages):
        raise ValueError(f"positives must be numbers of the {len(passages)} passages; got {own.min()} to {own.max()}")
    k = gates.whole(k, "k")
    if not 0 < margin <= 1:
        raise ValueError(f"margin must lie between 0 and 1; got {margin}")
    found = []
    for query, positive in zip(queries, own, strict=True):
        scores = passages @ query
        allowed = scores <= margin * scores[positive]
        allowed[positive] = False
        order = np.argsort(-scores, kind="stable")
        found.append(order[allowed[order]][:k])
    return found

"""The dense side with the same chances: embeddings centred, without their first components, whitened.

Aligned tokens leave out what all documents share, and pick K and M on the tuning half of the queries. A dense cosine
that is taken as it comes has had no such chance. Here it gets one: as many settings to choose from, by the same rule.

* centred: minus the mean of the documents, and queries minus the mean of the tuning queries (Mu and Viswanath 2018,
  "All-but-the-Top", which also removes the first components);
* whitened: coordinates along the principal components divided by their standard deviation to the power ``power``
  (Su et al. 2021, "Whitening Sentence Representations": power 1).

Nothing here looks at a query on which results are reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_utils import gates
from course_utils.measures import evaluation

#: What may be done before whitening: take the means away or not, and how many components.
LEVELS = ((False, 0), (False, 1), (True, 0), (True, 1), (True, 2), (True, 4), (True, 8))
#: Powers of the standard deviation; 0 leaves the components as they are.
POWERS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
#: Standard deviations below this share of the largest count as this: they are noise of the arithmetic.
FLOOR = 1e-3


@dataclass(frozen=True)
class DenseSetting:
    """What is done to embeddings before the cosine: ``centre`` and ``remove`` as in :data:`LEVELS`, ``power``."""

    centre: bool = False
    remove: int = 0
    power: float = 0.0

    def __str__(self) -> str:
        parts = ["centred" if self.centre else ""]
        parts += [f"without {self.remove} component{'s' if self.remove > 1 else ''}" if self.remove else ""]
        parts += [f"whitened (power {self.power:g})" if self.power else ""]
        return ", ".join(part for part in parts if part) or "raw"

    def fitted(self, width: int) -> int:
        """How many numbers have to be fitted and kept for embeddings of ``width`` dimensions: its price."""
        return width * (2 * self.centre + self.remove) + (width * width if self.power else 0)


class DenseSide:
    """Embeddings of a collection, ready to be compared in any :class:`DenseSetting`.

    Args:
        documents: ``[n_docs, d]``.
        queries: ``[n_queries, d]``.
        tune: numbers of the queries whose mean may be looked at.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, or no tuning query.
    """

    def __init__(self, documents: np.ndarray, queries: np.ndarray, tune: Sequence[int]):
        self.documents = gates.matrix(documents, "documents", "[n_docs, d]", dtype=np.float64)
        self.queries = gates.matrix(queries, "queries", "[n_queries, d]", dtype=np.float64)
        if self.documents.shape[1] != self.queries.shape[1]:
            raise ValueError(f"documents have {self.documents.shape[1]} dimensions, queries {self.queries.shape[1]}")
        if not len(tune):
            raise ValueError("there is no tuning query: the queries' mean cannot be fitted")
        self._tune = list(tune)
        self._fits: dict[bool, tuple] = {}

    def scores(self, setting: DenseSetting) -> np.ndarray:
        """Cosine of all queries and documents after the setting, float64 ``[n_queries, n_docs]``."""
        documents, queries = self.treated(setting)
        return evaluation.cosine_matrix(queries, documents)

    def treated(self, setting: DenseSetting) -> tuple[np.ndarray, np.ndarray]:
        """Documents ``[n_docs, d]`` and queries ``[n_queries, d]`` after the setting."""
        if not 0 <= setting.remove < self.documents.shape[1]:
            raise ValueError(f"remove must lie between 0 and {self.documents.shape[1] - 1}; got {setting.remove}")
        means, directions, deviations = self._fit(setting.centre)
        factors = np.maximum(deviations / deviations[0], FLOOR) ** -setting.power
        factors[: setting.remove] = 0
        sides = (self.documents - means[0], self.queries - means[1])
        if not setting.power and not setting.remove:
            return sides
        return tuple((side @ directions.T) * factors for side in sides)

    def _fit(self, centre: bool) -> tuple:
        """Means of both sides, principal directions ``[d, d]`` and deviations ``[d]`` of the documents."""
        if centre not in self._fits:
            width = self.documents.shape[1]
            means = (np.zeros(width), np.zeros(width))
            if centre:
                means = (self.documents.mean(axis=0), self.queries[self._tune].mean(axis=0))
            rest = self.documents - means[0]
            values, vectors = np.linalg.eigh(rest.T @ rest / len(rest))
            deviations = np.sqrt(np.maximum(values[::-1], 0))
            if not deviations[0]:
                raise ValueError("all documents have the same embedding: there is nothing to compare")
            self._fits[centre] = means, vectors[:, ::-1].T, deviations
        return self._fits[centre]


def settings() -> list[list[DenseSetting]]:
    """All settings to choose from, one row per level, one column per power."""
    return [[DenseSetting(centre, remove, power) for power in POWERS] for centre, remove in LEVELS]

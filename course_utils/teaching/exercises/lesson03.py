"""Checks of lesson 03 and its appendix. Every expectation is planted in the data or summed by hand."""

from collections.abc import Callable

import numpy as np

from course_utils.teaching.exercises import as_array, as_number, exercise, fresh, missing, right


def _cloud(n: int = 60, d: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around a planted direction, and that direction; most of them lie far out along it."""
    rng = np.random.default_rng(seed)
    planted = np.zeros(d)
    planted[2], planted[5] = -0.6, 0.8
    return rng.normal(20, 2, size=(n, 1)) * planted + rng.normal(size=(n, d)), planted


@exercise(
    "03.1",
    title="How far did training move the texts?",
    difficulty=1,
    minutes=4,
    expects="a function of before [n, d], after [n, d] and directions [r, d] that returns v [r]",
    accepts=Callable,
)
def variation(answer):
    before, _ = _cloud()
    moved = np.array([-6.0, 0.5, 2.0])
    directions = np.eye(8)[[1, 4, 6]]
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(60, 3))
    noise -= noise.mean(axis=0)  # single texts differ, their mean does not
    after = before + (moved + noise) @ directions
    result = as_array(answer(before.copy(), after.copy(), directions.copy()))
    if result.shape == (60, 3):
        return "this is how far each text moved; v_j is the mean over the texts, three numbers here"
    result = as_array(result, shape=(3,))
    if np.allclose(result, -moved):
        return "the sign is turned round: v_j says where the trained embeddings lie as seen from the untrained ones"
    if np.allclose(result, 60 * moved):
        return "this is the sum over the texts; v_j is their mean"
    if np.allclose(result, np.abs(moved + noise).mean(axis=0)):
        return "the direction matters: average the signed movements, not their sizes"
    if not np.allclose(result, moved):
        return (
            f"here the texts were moved by {moved.tolist()} on average; your function says {result.round(2).tolist()}"
        )
    drawn = fresh.generator().normal(size=(3, 20, 4))
    expected = [np.mean([(b - a) @ row for a, b in zip(*drawn[:2], strict=True)]) for row in drawn[2, :3]]
    if fresh.differs(as_array(answer(*drawn[:2].copy(), drawn[2, :3].copy())), expected):
        return fresh.ONLY_THE_SHOWN
    return right("v_j is a mean over texts: single texts may move further, or the other way")


@exercise(
    "03.2",
    title="A random rotation",
    difficulty=2,
    minutes=7,
    expects="a function of d and a random generator rng that returns a matrix [d, d], another one in each call",
    accepts=Callable,
)
def rotation(answer):
    d, rng = 6, np.random.default_rng(7)
    drawn = []
    for _ in range(400):
        turn = as_array(answer(d, rng))
        if turn.shape != (d, d):
            return f"for d = {d} the rotation is a matrix [{d}, {d}]; yours has the shape {turn.shape}"
        if not np.allclose(turn @ turn.T, np.eye(d), atol=1e-8):
            return (
                "this matrix changes lengths or angles: its rows must have length 1 and stand at right angles to each "
                "other; look at the Q of a QR decomposition"
            )
        drawn.append(turn)
    if np.allclose(drawn[0], drawn[1]):
        return "two calls return the same matrix: draw from rng, and leave it unseeded inside your function"
    entries = np.stack(drawn)
    if np.isin(np.abs(entries).round(8), (0, 1)).all():
        return "this only exchanges the dimensions or turns their signs; a rotation can go anywhere in between"
    # Of a vector of length 1 that may point anywhere every entry is zero, and its square 1/d, on average.
    if np.abs((entries**2).mean(axis=0) - 1 / d).max() > 0.06:
        return "some directions are hardly turned at all: every direction must be able to go everywhere"
    if np.abs(entries.mean(axis=0)).max() > 0.12:
        return (
            "orthogonal, but one-sided: some entries have the same sign in (almost) every draw; a QR decomposition "
            "leaves the signs to its algorithm, so multiply the columns of Q by the signs of the diagonal of R"
        )
    d = int(fresh.generator().integers(7, 500))
    if fresh.differs(as_array(answer(d, rng)).shape, (d, d)):
        return fresh.ONLY_THE_SHOWN
    return right(
        "lengths and angles stay, and every direction is forgotten: what survives it is no trace of the origin"
    )


#: Content Hit@10 minus chance, made up: untrained, + v_1 u_1, + best control, embedder, − v_1 u_1, − best control.
CLAIMS = {
    "A": (0.10, 0.70, 0.20, 0.90, 0.85, 0.86),
    "B": (0.10, 0.30, 0.15, 0.90, 0.20, 0.80),
    "C": (0.20, 0.75, 0.30, 0.95, 0.35, 0.85),
    "D": (0.20, 0.70, 0.72, 0.90, 0.40, 0.35),
}
_WORDS = {(True, True): "both", (True, False): "sufficient", (False, True): "necessary", (False, False): "neither"}


@exercise(
    "03.3",
    title="Read the table",
    difficulty=1,
    minutes=3,
    expects="a dictionary such as {'A': 'both', 'B': …}: for each of A, B, C and D one of 'sufficient', 'necessary', "
    "'both' and 'neither'",
    accepts=dict,
)
def read_the_table(answer):
    if unknown := [name for name in answer if not isinstance(name, str) or name not in CLAIMS]:
        return f"the embedders are A, B, C and D; your dictionary also has {len(unknown)} other key(s)"
    if lacking := [name for name in CLAIMS if answer.get(name) is None]:
        return missing(f"there is no word yet for {', '.join(lacking)}")
    for name, numbers in CLAIMS.items():
        word = answer[name]
        if not isinstance(word, str) or word not in _WORDS.values():
            return f"{name}: the word must be one of {', '.join(map(repr, _WORDS.values()))}"
        if word != _WORDS[_read(*numbers)]:
            return f"{name} is not '{word}'. {_reason(*numbers)}"
    return right("D moves as far, but any push of this length does it: without a control it would have passed as both")


def _read(untrained, added, control, embedder, taken, control_taken) -> tuple[bool, bool]:
    half = (embedder - untrained) / 2
    gained, lost = added - untrained, embedder - taken
    return gained >= half and added > control, lost >= half and taken < control_taken


def _reason(untrained, added, control, embedder, taken, control_taken) -> str:
    gap = embedder - untrained
    said = (
        f"The gap is {gap:.2f}; adding goes {added - untrained:.2f} of it, taking away {embedder - taken:.2f}. "
        "Each has to go half of the gap"
    )
    if control >= added or control_taken <= taken:
        return f"{said}, and further than the control beside it."
    return f"{said}."


@exercise(
    "03.4",
    title="When does a token overtake another?",
    difficulty=2,
    minutes=6,
    expects="a function of h [d], u [d], row_a [d] and row_b [d] that returns the λ at which the two tokens are equal",
    accepts=Callable,
)
def crossing(answer):
    for rng in (*map(np.random.default_rng, range(3, 7)), fresh.generator()):
        h, u, row_a, row_b = rng.normal(size=(4, 6))
        u /= np.linalg.norm(u)
        amount = as_number(answer(h.copy(), u.copy(), row_a.copy(), row_b.copy()))
        shifted = [float(row @ (h + amount * u)) for row in (row_a, row_b)]
        if not np.isclose(*shifted):
            turned = [float(row @ (h - amount * u)) for row in (row_a, row_b)]
            if np.isclose(*turned):
                return "the two are equal at −λ: mind the sign when you solve for λ"
            return f"at your λ = {amount:.3g} the logits are {shifted[0]:.3g} and {shifted[1]:.3g}, not equal"
    return right("logits are straight lines in λ: two tokens change places at most once")


@exercise(
    "03.5",
    title="The first component and its sign",
    difficulty=2,
    minutes=10,
    expects="a function of embeddings [n, d] that returns u_1 [d]: uncentred, of length 1, with a positive mean "
    "coefficient",
    accepts=Callable,
)
def first_direction(answer):
    results = []
    for turn, seed in ((1, 0), (-1, 0), (-1, int(fresh.generator().integers(1, 2**32)))):
        cloud, planted = _cloud(seed=seed)
        result = as_array(answer(turn * cloud))
        if result.shape != (8,):
            return f"u_1 has one number for each of the 8 dimensions; yours has the shape {result.shape}"
        if not np.isclose(np.linalg.norm(result), 1):
            return f"u_1 has length 1; yours has {np.linalg.norm(result):.3g}"
        results.append((result, turn * planted, turn * cloud))
    for result, planted, cloud in results:
        if abs(result @ planted) < 0.95:
            return (
                "this is not the direction in which this cloud lies; did you remove the mean first, "
                "or take a left singular vector?"
            )
        if (cloud @ result).mean() < 0:
            return "the direction is right, the sign is not: the mean of h·u_1 over the texts must be positive"
        # The first component holds the largest sum of squares that one direction can hold.
        if ((cloud @ result) ** 2).sum() < np.linalg.eigvalsh(cloud.T @ cloud)[-1] * (1 - 1e-9):
            return (
                "close, but another direction holds more of the squared norm; is this the mean direction, or centred?"
            )
    return right("an SVD may return u_1 or −u_1; only a convention makes the sign of v_1 mean something")


@exercise(
    "03.6",
    title="Compare like with like",
    difficulty=3,
    minutes=15,
    expects="a function of before [n, d] and after [n, d] that returns v_1² / Σ_j v_j² with both sides at unit length",
    accepts=Callable,
)
def fair_share(answer):
    before, _ = _cloud(n=80, seed=4)
    rng = np.random.default_rng(5)
    # Turned towards another direction, and then made short, as an embedder that normalises does.
    after = before + rng.normal(size=before.shape) + 9 * np.eye(8)[0]
    after /= np.linalg.norm(after, axis=1, keepdims=True)
    share = as_number(answer(before.copy(), after.copy()))
    expected = _share(_unit(before), _unit(after), _unit(before))
    if np.isclose(share, expected, rtol=1e-6):
        other = fresh.generator().normal(size=(2, 30, 8)) + 1
        if fresh.differs(as_number(answer(*other.copy())), _share(*map(_unit, other), _unit(other[0]))):
            return fresh.ONLY_THE_SHOWN
        return right(
            f"{expected:.2f} instead of {_share(before, after, before):.2f}: most of what looked like the first "
            "component was a change of length"
        )
    if np.isclose(share, _share(before, after, before), rtol=1e-6):
        return "the two sides still have different lengths: divide every row of both by its length first"
    if np.isclose(share, _share(_unit(before), _unit(after), before), rtol=1e-6):
        return (
            "u_j must be the components of the embeddings that you compare: take the SVD after scaling to unit length"
        )
    if np.isclose(share, np.sqrt(expected), rtol=1e-6):
        return "this is |v_1| / |v|; the share is of the squared length"
    return f"expected {expected:.4f} for these embeddings, yours is {share:.4f}; are all components in the sum?"


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.array([row / np.sqrt(sum(x * x for x in row)) for row in rows])


def _share(before: np.ndarray, after: np.ndarray, basis: np.ndarray) -> float:
    """From the eigenvectors of ``HᵀH`` instead of an SVD, so that nothing is shared with the lesson's own way."""
    _, vectors = np.linalg.eigh(basis.T @ basis)
    v = (after - before).mean(axis=0) @ vectors[:, ::-1]
    return float(v[0] ** 2 / sum(v**2))

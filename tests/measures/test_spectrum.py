"""Principal components and the ways to move along them, against NumPy, scikit-learn and planted truths."""

import html

import numpy as np
import pytest
from sklearn.decomposition import PCA, TruncatedSVD

from course_utils.measures import evaluation, spectrum


def cloud(n=300, d=20, seed=0):
    """A cloud like an untrained model's: a large common part, the rest with falling spread."""
    rng = np.random.default_rng(seed)
    return 30 * np.ones(d) / np.sqrt(d) + rng.normal(size=(n, d)) * np.linspace(4, 0.5, d)


def same_up_to_sign(a, b, atol=1e-6):
    signs = np.sign(np.einsum("rd,rd->r", a, b))
    np.testing.assert_allclose(a * signs[:, None], b, atol=atol)


# --- Components -----------------------------------------------------------------------------------


def test_uncentred_components_are_those_of_numpy_and_of_truncated_svd():
    matrix = cloud()
    found = spectrum.components(matrix)
    _, values, directions = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(found.singular_values, values, rtol=1e-10)
    same_up_to_sign(found.directions, directions)
    peer = TruncatedSVD(n_components=8, algorithm="arpack").fit(matrix)
    np.testing.assert_allclose(found.singular_values[:8], peer.singular_values_, rtol=1e-6)
    same_up_to_sign(found.directions[:8], peer.components_)
    assert (found.mean == 0).all() and found.n == 300 and found.rank == 20


def test_centred_components_are_those_of_pca():
    matrix = cloud()
    found, peer = spectrum.components(matrix, centre=True), PCA().fit(matrix)
    np.testing.assert_allclose(found.mean, peer.mean_, atol=1e-10)
    np.testing.assert_allclose(found.singular_values, peer.singular_values_, rtol=1e-6)
    np.testing.assert_allclose(found.shares, peer.explained_variance_ratio_, atol=1e-6)
    same_up_to_sign(found.directions, peer.components_)


@pytest.mark.parametrize("centre", [False, True])
def test_components_of_float16_and_of_float64_agree_and_are_orthonormal(centre):
    matrix = cloud().astype(np.float16)
    a, b = spectrum.components(matrix, centre), spectrum.components(matrix.astype(np.float64), centre)
    np.testing.assert_array_equal(a.directions, b.directions)
    np.testing.assert_allclose(a.directions @ a.directions.T, np.eye(20), atol=1e-10)
    assert a.shares.sum() == pytest.approx(1)


def test_a_planted_component_is_recovered_with_its_sign():
    rng = np.random.default_rng(3)
    planted = rng.normal(size=50)
    planted /= np.linalg.norm(planted)
    noise = rng.normal(size=(400, 50))
    cloud_along = rng.normal(-25, 2, size=(400, 1)) * planted + noise
    found = spectrum.components(cloud_along)
    assert spectrum.angle(found.directions[0], -planted, signed=True) < 2
    assert found.shares[0] > 0.9
    # Centred, the same direction is still the largest, but its sign is a convention, not the side of the mean.
    assert spectrum.angle(spectrum.components(cloud_along, centre=True).directions[0], planted) < 15


@pytest.mark.parametrize("flip", [1, -1])
def test_signs_follow_the_convention_whatever_the_svd_returns(flip, monkeypatch):
    matrix, svd = cloud(), np.linalg.svd
    expected = spectrum.components(matrix), spectrum.components(matrix, centre=True)

    def flipped(a, full_matrices):
        u, s, vt = svd(a, full_matrices=full_matrices)
        return flip * u, s, flip * vt

    monkeypatch.setattr(np.linalg, "svd", flipped)
    for want, centre in zip(expected, (False, True), strict=True):
        found = spectrum.components(matrix, centre)
        np.testing.assert_array_equal(found.directions, want.directions)
    assert (spectrum.components(matrix).directions @ matrix.mean(axis=0) > 0).all()
    centred = spectrum.components(matrix, centre=True).directions
    assert (centred[np.arange(20), np.abs(centred).argmax(axis=1)] > 0).all()


def test_fewer_texts_than_dimensions_and_rank_deficient_input():
    few = spectrum.components(cloud(n=5))
    assert few.directions.shape == (5, 20) and few.rank == 5
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 20))
    found = spectrum.components(flat)
    assert found.rank == 3 and found.directions.shape == (20, 20)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(20), atol=1e-10)
    np.testing.assert_allclose(flat @ found.directions[:3].T @ found.directions[:3], flat, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scale_changes_nothing_but_the_singular_values(scale):
    a, b = spectrum.components(cloud()), spectrum.components(scale * cloud())
    np.testing.assert_allclose(a.directions, b.directions, atol=1e-9)
    np.testing.assert_allclose(a.singular_values * scale, b.singular_values, rtol=1e-9)


def test_components_refuse_what_has_none():
    with pytest.raises(ValueError, match="at least two embeddings; got 1"):
        spectrum.components(cloud(n=1))
    with pytest.raises(ValueError, match="all embeddings are zero"):
        spectrum.components(np.zeros((4, 3)))
    constant = np.tile(cloud(n=1), (50, 1))
    with pytest.raises(ValueError, match="all embeddings are equal"):
        spectrum.components(constant, centre=True)
    one = spectrum.components(constant)  # uncentred there is a first component: the common embedding
    assert one.rank == 1 and spectrum.angle(one.directions[0], constant[0], signed=True) < 1e-6
    broken = cloud()
    broken[7, 3], broken[9, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"NaN or infinity in row\(s\) \[7, 9\]"):
        spectrum.components(broken)
    with pytest.raises(ValueError, match=r"must be \[n, d\]; got shape \(20,\)"):
        spectrum.components(cloud()[0])


def test_unembedding_components_are_those_of_a_plain_svd_whatever_the_chunks(monkeypatch):
    weight = cloud(n=500, d=12).astype(np.float32)
    _, values, directions = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    for rows in (7, 500, 10_000):
        monkeypatch.setattr(spectrum, "_CHUNK_ROWS", rows)
        found = spectrum.unembedding_components(weight)
        np.testing.assert_allclose(found.singular_values, values, rtol=1e-6)
        same_up_to_sign(found.directions, directions)
        assert (found.directions @ weight.mean(axis=0) > 0).all()


def test_unembedding_components_refuse():
    with pytest.raises(ValueError, match="all zero"):
        spectrum.unembedding_components(np.zeros((9, 3)))
    with pytest.raises(ValueError, match=r"V >= d; got shape \(3, 9\)"):
        spectrum.unembedding_components(np.ones((3, 9)))
    with pytest.raises(ValueError, match=r"unembedding hold NaN or infinity in row\(s\) \[20000\]"):
        weight = np.ones((20_001, 2))
        weight[20_000] = np.nan
        spectrum.unembedding_components(weight)


# --- Variation ------------------------------------------------------------------------------------


def test_variation_is_the_difference_along_each_direction():
    before, rng = cloud(), np.random.default_rng(5)
    after = before + rng.normal(size=before.shape)
    u = spectrum.components(before).directions
    found = spectrum.variation(before, after, u)
    expected = [[sum((a - b) * x) for x in u] for a, b in zip(after[:4], before[:4], strict=True)]
    np.testing.assert_allclose(found[:4], expected, atol=1e-10)
    np.testing.assert_allclose(spectrum.variation(before, after, u[0])[:, 0], found[:, 0])
    np.testing.assert_allclose((found**2).sum(axis=1), ((after - before) ** 2).sum(axis=1))  # nothing is lost


def test_a_shift_has_the_variation_it_was_made_with():
    before = cloud()
    u = spectrum.components(before).directions
    changes = spectrum.variation(before, spectrum.shift(before, u[0], -7.5), u)
    np.testing.assert_allclose(changes[:, 0], -7.5, atol=1e-4)
    np.testing.assert_allclose(changes[:, 1:], 0, atol=1e-4)
    summary = spectrum.summarise_variation(changes)
    assert summary.share.low > 0.9999
    each = np.linspace(-3, 3, len(before))
    moved = spectrum.shift(before, u[2], each)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(spectrum.variation(before, moved, u[2])[:, 0], each, atol=1e-4)


def test_intervals_agree_with_the_general_bootstrap_column_by_column():
    changes = np.random.default_rng(0).normal([-5, 1, 0.1], [1, 2, 3], size=(150, 3))
    found = spectrum.summarise_variation(changes, n_resamples=400, seed=4)
    for j in range(3):
        peer = evaluation.bootstrap(changes[:, j], n_resamples=400, seed=4)
        assert (found[j].value, found[j].low, found[j].high) == pytest.approx((peer.value, peer.low, peer.high))

    def share(rows):
        v = rows.mean(axis=0)
        return v[0] ** 2 / (v @ v)

    peer = evaluation.bootstrap_rows(changes, statistic=share, n_resamples=400, seed=4)
    assert (found.share.low, found.share.value, found.share.high) == pytest.approx((peer.low, peer.value, peer.high))
    assert found.first == found[0] and found.largest_other == 1


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng, inside = np.random.default_rng(1), 0
    for seed in range(200):
        found = spectrum.summarise_variation(rng.normal(2, 1, size=(60, 2)), n_resamples=300, seed=seed)
        inside += found.low[0] <= 2 <= found.high[0]
    assert 178 <= inside <= 199  # 190 expected, with a standard deviation of 3


def test_variation_refuses():
    with pytest.raises(ValueError, match=r"directions must be \[r, 20\], as the embeddings; got \(2, 19\)"):
        spectrum.variation(np.ones((3, 20)), np.zeros((3, 20)), np.eye(19)[:2])
    with pytest.raises(ValueError, match=r"same shape; got \(300, 20\) and \(299, 20\)"):
        spectrum.variation(cloud(), cloud()[:-1], np.ones(20))
    with pytest.raises(ValueError, match="did not move"):
        spectrum.summarise_variation(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"changes hold NaN or infinity in row\(s\) \[0"):
        spectrum.summarise_variation(np.full((5, 3), np.nan))
    for bad in ({"n_resamples": 0}, {"confidence": 1.0}):
        with pytest.raises(ValueError, match="n_resamples must be at least 1|0 < confidence < 1"):
            spectrum.summarise_variation(np.ones((5, 3)), **bad)
    with pytest.raises(ValueError, match="two texts"):
        spectrum.summarise_variation(np.ones((1, 3)))


# --- Logits and angles ----------------------------------------------------------------------------


def test_the_two_parts_of_a_logit_add_up_and_are_what_they_say():
    rng = np.random.default_rng(2)
    weight, h, u = rng.normal(size=(40, 20)), cloud(n=1)[0], spectrum.components(cloud()).directions[0]
    along, rest = spectrum.split_logits(h, u, weight)
    np.testing.assert_allclose(along + rest, weight @ h, atol=1e-10)
    np.testing.assert_allclose(along, [(w @ u) * (h @ u) for w in weight], atol=1e-10)
    # Moving along u changes the first part and leaves the rest alone.
    along_2, rest_2 = spectrum.split_logits(h + 9 * u, u, weight)
    np.testing.assert_allclose(rest_2, rest, atol=1e-10)
    np.testing.assert_allclose(along_2 - along, 9 * weight @ u, atol=1e-10)


def test_angles():
    assert spectrum.angle([1, 0], [0, 2]) == pytest.approx(90)
    assert spectrum.angle([1, 0], [-3, 0]) == 0
    assert spectrum.angle([1, 0], [-3, 0], signed=True) == pytest.approx(180)
    assert spectrum.angle([1, 0], [1, -1]) == pytest.approx(45)
    assert spectrum.angle([1, 0], [1, 1e-9]) == pytest.approx(np.degrees(1e-9), rel=1e-6)  # an arc cosine gives 0
    for a, b in (([1, 0], [0, 0]), ([np.nan, 1], [1, 1])):
        with pytest.raises(ValueError, match="zero or not finite"):
            spectrum.angle(a, b)
    with pytest.raises(ValueError, match=r"same length are needed; got shapes \(2,\) and \(3,\)"):
        spectrum.angle([1, 0], [1, 0, 0])


# --- Ways to change embeddings --------------------------------------------------------------------


def test_mean_removal_centres_the_corpus_it_was_fitted_on():
    matrix = cloud()
    np.testing.assert_allclose(spectrum.remove_mean(matrix, matrix.mean(axis=0)).mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(spectrum.remove_mean(matrix[:1], matrix[0]), 0, atol=1e-6)


def test_all_but_the_top_removes_the_mean_and_the_top_and_keeps_the_rest():
    corpus, others = cloud(), cloud(n=30, seed=9)
    fitted = spectrum.components(corpus, centre=True)
    for d in (0, 1, 3):
        changed = spectrum.all_but_the_top(others, fitted, d)
        centred = others - corpus.mean(axis=0)
        np.testing.assert_allclose(changed @ fitted.directions[:d].T, 0, atol=1e-4)
        kept = fitted.directions[d:]
        np.testing.assert_allclose(changed @ kept.T, centred @ kept.T, atol=1e-4)
    np.testing.assert_allclose(
        spectrum.all_but_the_top(others, fitted, 0), spectrum.remove_mean(others, corpus.mean(axis=0)), atol=1e-5
    )
    with pytest.raises(ValueError, match="between 0 and the rank 20; got 21"):
        spectrum.all_but_the_top(others, fitted, 21)


def test_whitening_gives_unit_covariance_and_the_inner_products_of_pca_whitening():
    corpus, others = cloud(), cloud(n=30, seed=9)
    fitted = spectrum.components(corpus, centre=True)
    white = spectrum.whiten(corpus, fitted)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(20), atol=1e-4)
    for k in (5, 20):
        mine = spectrum.whiten(others, fitted, k)
        peer = PCA(n_components=k, whiten=True).fit(corpus).transform(others)  # divides by n - 1
        np.testing.assert_allclose(mine @ mine.T, peer @ peer.T * 300 / 299, atol=1e-3)


def test_whitening_refuses_to_divide_by_zero():
    fitted = spectrum.components(cloud(n=8), centre=True)  # 8 texts span 7 directions after centring
    assert fitted.rank == 7
    with pytest.raises(ValueError, match="the corpus of 8 embeddings has 7: use more texts or n_directions=7"):
        spectrum.whiten(cloud(), fitted)
    assert np.isfinite(spectrum.whiten(cloud(), fitted, 7)).all()


def test_the_spectrum_filter_removes_both_edges_and_nothing_else():
    fitted, h = spectrum.unembedding_components(cloud(n=500, seed=4)), cloud(n=10)
    filtered = spectrum.filter_unembedding_spectrum(h, fitted, head=2, tail=3)
    before, after = h @ fitted.directions.T, filtered @ fitted.directions.T
    np.testing.assert_allclose(after[:, [0, 1, 17, 18, 19]], 0, atol=1e-4)
    np.testing.assert_allclose(after[:, 2:17], before[:, 2:17], atol=1e-4)
    np.testing.assert_allclose(spectrum.filter_unembedding_spectrum(h, fitted, 0, 0), h, atol=1e-5)
    for head, tail in ((20, 0), (10, 10), (-1, 2)):
        with pytest.raises(ValueError, match=f"one of 20 directions; got {head} and {tail}"):
            spectrum.filter_unembedding_spectrum(h, fitted, head, tail)


def test_every_change_keeps_shape_and_type_and_names_a_broken_row():
    corpus = cloud()
    plain, centred = spectrum.components(corpus), spectrum.components(corpus, centre=True)
    edges = spectrum.unembedding_components(cloud(n=500))
    changes = [
        lambda h: spectrum.shift(h, plain.directions[0], -3.0),
        lambda h: spectrum.remove_mean(h, corpus.mean(axis=0)),
        lambda h: spectrum.all_but_the_top(h, centred, 2),
        lambda h: spectrum.whiten(h, centred),
        lambda h: spectrum.filter_unembedding_spectrum(h, edges, 2, 2),
    ]
    broken = cloud(n=4)
    broken[2, 0] = np.nan
    for change in changes:
        result = change(cloud(n=4))
        assert result.shape == (4, 20) and result.dtype == np.float32 and np.isfinite(result).all()
        np.testing.assert_allclose(change(cloud(n=4)[1:2])[0], result[1], atol=1e-4)  # texts do not meet
        with pytest.raises(ValueError, match=r"NaN or infinity in row\(s\) \[2\]"):
            change(broken)
        with pytest.raises(ValueError, match="must have 19 values, as the embeddings; got 20|20 dimensions do not"):
            change(cloud(n=4, d=19))


# --- What people look at --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """An untrained tiny model and the same with a random adapter, seen along a first component."""
    import tiny

    from course_utils.models.embedder import load
    from course_utils.teaching.explorers.spectrum import SpectrumView

    folder = tmp_path_factory.mktemp("tiny")
    model = tiny.save(folder / "model")
    adapter = tiny.save_adapter(folder / "adapter", model)
    origin = load(model, pooling="weighted_mean")
    trained = load(model, backbone=origin.backbone, pooling="weighted_mean", adapters=(adapter,))
    return SpectrumView(origin, trained, spectrum.components(origin.encode(tiny.SENTENCES)).directions[0])


def test_the_view_shows_the_aligned_tokens_before_after_the_shift_and_of_the_embedder(view):
    from course_utils.measures.alignment import top_tokens

    text, h = "Rain and guitar", view.origin.encode(["Rain and guitar"])
    page = view.aligned_html(text, amount=-2.5, k=4)
    rows = [row.split("</tr>")[0] for row in page.split("<tr>")[1:]]
    expected = [h, h - 2.5 * view.direction.astype(np.float32), view.trained.encode([text])]
    assert len(rows) == 3 and "shifted by λ = -2.5" in rows[1]
    for row, embedding in zip(rows, expected, strict=True):
        ids, _ = top_tokens(embedding, view.origin.unembedding, 4, view.special)
        shown = [part.split("</bdi>")[0] for part in row.split("<bdi>")[1:]]
        tokens, _ = view.described(text, ids[0])
        assert len(tokens) == 4 and [html.unescape(s) for s in shown] == [t.removeprefix("_") for t in tokens]
    assert "λ = 0.0" in view.aligned_html(text, -0.0)
    assert "Type a sentence" in view.aligned_html("  ", 1.0) and "Type a sentence" in view.contribution_html(" ")


def test_the_bars_add_up_to_the_logits_above_the_mean(view):
    text = "Parrots in a café"
    figure = view.contribution_figure(text, k=6)
    weight = view.origin.unembedding.numpy().astype(np.float64)
    for axes, embedder in zip(figure.axes, (view.origin, view.trained), strict=True):
        logits = weight @ embedder.encode([text])[0]
        logits = np.sort(np.delete(logits - logits.mean(), view.special))[::-1][:6]
        along, rest = ([bar.get_width() for bar in bars] for bars in axes.containers)
        np.testing.assert_allclose(np.add(along, rest), logits, atol=1e-4)
        np.testing.assert_allclose(axes.lines[0].get_xdata(), logits, atol=1e-4)  # the diamonds


def test_the_explorers_answer_to_sentence_and_slider(view):
    from course_utils.teaching.explorers.spectrum import contribution_explorer, shift_explorer

    sentence, slider, result = shift_explorer(view, "Parrots", 0.0, -10, 5).children
    assert result.value == view.aligned_html("Parrots", 0.0)
    slider.value = -7.5
    assert result.value == view.aligned_html("Parrots", -7.5)
    sentence.value = "Rain"
    assert result.value == view.aligned_html("Rain", -7.5)
    sentence, result = contribution_explorer(view, "Parrots").children
    before = result.value
    assert 'alt="The first component gives' in before
    sentence.value = "A man is playing a guitar on stage."
    assert "<img" in result.value and result.value != before


def test_figures_hold_the_numbers_they_are_given():
    from course_utils.teaching.figures import spectrum as figures

    log = [{"step": s, "v_1": -s / 2, "max_other_v": 1.0} for s in (0, 1, 8)]
    trained = figures.training({"x": log}, "title").axes[0]
    np.testing.assert_allclose(trained.lines[0].get_ydata(), [0, 0.5, 4])
    deep = figures.layers({"x": np.array([0.5, 0.7])}, np.array([0.1, 0.2]), np.array([0.05, 0.1]), "title")
    np.testing.assert_allclose(deep.axes[0].lines[0].get_ydata(), [50, 70])

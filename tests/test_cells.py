"""Effects of single exposures against the same algebra written another way, curves and zones by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from csrec_core.data.log import Dataset
from csrec_core.effect import cells as module
from csrec_core.effect.cells import ZONES, cell_effects, exploration, gains, known_before, uplift, zone_table
from csrec_core.effect.design import Design
from csrec_core.effect.engine import Known
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.rows import Clock, lay_rows
from csrec_core.errors import InputError


def drawn(rows=60, seed=0):
    """Cells of ten users in three folds; weights of one arm or of the other."""
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(10, size=rows)) * 3 + 2
    arm = rng.integers(2, size=rows)
    frame = pd.DataFrame(
        {"user": user, "fold": user // 3 % 3, "arm": arm, "decision": rng.integers(2, size=rows) * 1.0}
    )
    frame["tau"] = rng.uniform(0.5, 2, rows) * arm
    frame["w1"], frame["w0"] = frame["tau"] * 1.5, rng.uniform(0.2, 3, rows) * (1 - arm)
    return frame.assign(m1=rng.uniform(0.2, 0.8, rows), m0=rng.uniform(0.2, 0.8, rows))


def terms(cells):
    """Return tau (m1 - m0) + w1 (D - m1) - w0 (D - m0), either arm's weights scaled to the sum of tau."""
    total, found = cells["tau"].sum(), []
    for row in cells.itertuples():
        shown = row.w1 * total / cells["w1"].sum() * (row.decision - row.m1)
        chosen = row.w0 * total / cells["w0"].sum() * (row.decision - row.m0)
        found.append(row.tau * (row.m1 - row.m0) + shown - chosen)
    return np.array(found)


def test_the_terms_add_up_to_the_effect():
    cells = drawn()
    assert gains(cells) == pytest.approx(terms(cells))
    residual = [
        np.average(cells["decision"] - cells[m], weights=cells[w]) for m, w in (("m1", "w1"), ("m0", "w0"))
    ]
    effect = np.average(cells["m1"] - cells["m0"], weights=cells["tau"]) + residual[0] - residual[1]
    assert gains(cells).sum() / cells["tau"].sum() == pytest.approx(effect)


def posterior(gram, moment, noise, span):
    """Return mean and covariance of beta ~ N(0, s^2) given b ~ N(G beta, M) by precisions, s by maximum likelihood."""
    best = None
    for spread in np.geomspace(1e-4, 0.3, 15):
        prior = np.diag([span**2, *[(spread * span) ** 2] * (len(gram) - 1)])
        likely = multivariate_normal.logpdf(moment, cov=gram @ prior @ gram.T + noise)
        if best is None or likely > best[0]:
            covariance = np.linalg.inv(np.linalg.inv(prior) + gram @ np.linalg.solve(noise, gram))
            best = likely, covariance @ gram @ np.linalg.solve(noise, moment), covariance
    return best[1:]


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("span", [1.0, 2.0])
def test_slopes_are_drawn_in_by_as_much_as_they_are_noise(slope, span):
    root = np.random.default_rng(1).normal(size=(3, 3))
    gram, noise = np.diag([50.0, 40, 30]) + 5, root @ root.T + np.eye(3)
    moment = gram @ (np.array([0.2, slope, -slope / 2]) * span)
    found, covariance = module._draw_in(gram, moment, noise, span)
    expected, spread = posterior(gram, moment, noise, span)
    assert found == pytest.approx(expected, rel=1e-4) and covariance == pytest.approx(
        spread, rel=1e-3, abs=1e-9
    )


def test_a_column_that_is_nothing_elsewhere_leaves_the_others_as_they_are():
    gram, noise, moment = np.diag([50.0, 40, 0]), np.diag([3.0, 2, 0]), np.array([10.0, 20, 0])
    found, covariance = module._draw_in(gram, moment, noise, 1.0)
    less, spread = module._draw_in(gram[:2, :2], moment[:2], noise[:2, :2], 1.0)
    assert found == pytest.approx([*less, 0]) and covariance[:2, :2] == pytest.approx(spread)


def test_a_cell_has_the_effect_that_other_folds_tell(monkeypatch):
    cells, x = drawn(300), np.column_stack([np.ones(300), np.random.default_rng(2).normal(size=(300, 2))])
    monkeypatch.setattr(module, "known_before", lambda *_: x)
    effect = SimpleNamespace(cells=cells, known=SimpleNamespace(span=1.0), level=0.9)
    found, gain, tau = cell_effects(effect, None), terms(cells), cells["tau"].to_numpy()
    mean, error = np.empty(300), np.empty(300)
    for fold in range(3):
        other, here = (cells["fold"] != fold).to_numpy(), (cells["fold"] == fold).to_numpy()
        gram = sum(tau[row] * np.outer(x[row], x[row]) for row in np.flatnonzero(other))
        each = (
            pd.DataFrame(x * (gain - tau * gain.sum() / tau.sum())[:, None])[other]
            .groupby(cells["user"])
            .sum()
        )
        beta, covariance = posterior(gram, x[other].T @ gain[other], each.T.to_numpy() @ each.to_numpy(), 1.0)
        mean[here] = x[here] @ beta
        error[here] = [np.sqrt(row @ covariance @ row) for row in x[here]]
    mean += gain.sum() / tau.sum() - (mean * tau).sum() / tau.sum()
    assert found["effect"].to_numpy() == pytest.approx(mean, rel=1e-4, abs=1e-6)
    for end, sign in (("lower", -1), ("upper", 1)):
        assert (found[end] - found["effect"]).to_numpy() == pytest.approx(sign * 1.644854 * error, rel=1e-3)


@pytest.mark.parametrize(("columns", "gone"), [((), {"step", "seen", "time"}), (("seen", "time"), {"step"})])
def test_what_is_known_before_is_standardised_at_the_target(columns, gone):
    rng = np.random.default_rng(4)
    log = pd.DataFrame(
        {
            "user": np.repeat(np.arange(12), 5),
            "t": np.tile(np.arange(5), 12),
            "item": rng.integers(30, size=60),
        }
    )
    log["source"] = rng.choice(["self", "system", "other"], 60)
    log = log.assign(decision=rng.integers(2, size=60), feature_a=rng.normal(size=60), feature_flat=1.0)
    dataset, design = Dataset(log), Design()
    rows, known = lay_rows(dataset, design), Known(Clock(columns, False), True, 1.0, 0.5, 60, 12, 30)
    fold = rows["user"].to_numpy() % 3
    scores = rows[["user", "arm"]].assign(fold=fold)
    cells = scores.assign(m1=rng.random(60), m0=rng.random(60), tau=rng.uniform(0.5, 2, 60))
    cells = cells[cells["arm"] >= 0].reset_index(drop=True)
    effect = SimpleNamespace(design=design, scores=(scores,), cells=cells, known=known)
    found = known_before(effect, dataset)
    counts, item = ItemCounts.count(rows, fold, 3), rows["item"].to_numpy()
    told = [counts.tell(item[[row]], fold[[row]], fold[row]) for row in range(60)]
    table = pd.concat([known.describe(rows).drop(columns=gone), pd.concat(told, ignore_index=True)], axis=1)
    table = table[rows["arm"] >= 0].reset_index(drop=True)
    table = table.assign(m0=cells["m0"], gap=cells["m1"] - cells["m0"]).astype(float)
    weight = cells["tau"] / cells["tau"].sum()
    centred = table - weight @ table.to_numpy()
    spread = np.sqrt(weight @ centred.to_numpy() ** 2)
    assert "feature_flat" in table and (found[:, 0] == 1).all()
    expected = (centred / spread).loc[:, spread > 1e-9].to_numpy()
    assert found[:, 1:] == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def eight(monkeypatch):
    """Cells of one user, of effects of tenths, cut at quarters."""
    monkeypatch.setattr(module, "QUANTILES", 4)
    effect = np.array([0.1, 0.8, -0.2, 0.4, 0.3, -0.6, 0.2, 0.0])
    cells = pd.DataFrame(
        {"user": 5, "decision": 0.5, "m1": effect, "m0": 0.0, "w1": 1.0, "w0": 1.0, "tau": 1.0}
    )
    return cells.assign(m1=0.5, m0=0.5 - effect), effect


def test_a_gain_curve_by_hand(eight):
    """From the top: .8 and .4, .3 and .2, .1 and 0, -.2 and -.6; off the residuals of the baseline, which are these."""
    cells, effect = eight
    curves, areas = uplift(cells.assign(w0=[0, *[1.0] * 7]), {"told": effect}, draws=20)
    weights = np.r_[0, np.ones(7)] * 8 / 7
    gain = effect - weights * effect
    order = np.argsort(-effect)
    height = np.r_[0, np.cumsum(gain[order].reshape(4, 2).sum(axis=1)) / 8]
    curve = curves[curves["score"] == "told"]
    assert curve["share"].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    for name in ("gain", "lower", "upper"):  # of one user there is one resample
        assert curve[name].tolist() == pytest.approx(height.tolist())
    area = areas.set_index("score").loc["told"]
    auuc = sum((height[one] + height[one + 1]) / 8 for one in range(4))
    assert area["auuc"] == pytest.approx(auuc)
    for name in ("qini", "qini_lower", "qini_upper"):
        assert area[name] == pytest.approx(auuc - height[-1] / 2)
    assert list(areas["score"]) == ["told", "random score"]


def test_equal_scores_stay_together_and_users_apart(eight):
    cells, effect = eight
    same = uplift(cells, {"same": np.zeros(8)}, draws=5)[0].query("score == 'same'")
    assert same["share"].tolist() == [0, 1, 1, 1, 1]
    # The rows that weigh nothing at the target cut nothing.
    half = uplift(cells.assign(tau=np.arange(8) < 4), {"told": effect}, draws=5)[0].query("score == 'told'")
    assert half["share"].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    two = uplift(cells.assign(user=np.arange(8) % 2), {"told": effect}, draws=200)[0].query("score == 'told'")
    assert (two["upper"] >= two["lower"]).all()
    assert [len(set(part)) for part in two[["share"]].to_numpy().T] == [5]
    cells = cells.assign(w0=[0, *[1.0] * 7])
    again, other = (uplift(cells, {}, seed=seed, draws=5)[0]["gain"].tolist() for seed in (0, 1))
    assert again == uplift(cells, {}, draws=5)[0]["gain"].tolist() and again != other


@pytest.mark.parametrize("score", [np.zeros(7), np.array([np.nan, *[0.0] * 7]), np.zeros((8, 1))])
def test_a_score_is_a_number_for_each_cell(eight, score):
    with pytest.raises(InputError, match="score 'odd': expected a finite number for each of 8 cells"):
        uplift(eight[0], {"odd": score})


def test_curves_have_fifty_cuts():
    cells = drawn(400)
    curve = uplift(cells, {"told": cells["m1"]}, draws=5)[0].query("score == 'told'")
    assert len(curve) == 51 and curve["share"].iloc[0] == 0 and curve["share"].iloc[-1] == pytest.approx(1)
    assert np.diff(curve["share"]).max() < 0.06


def test_zones_are_told_by_the_interval_and_the_threshold():
    rows = pd.DataFrame({"user": [1, 2, 3, 3, 3, 1, 1], "effect": np.arange(7.0)})
    rows["lower"] = [0.25, 0.125, -0.25, 0.0625, -0.375, -0.375, 0]
    rows["upper"] = [0.5, 0.375, 0.375, 0.3125, 0.125, 0.0625, 0.1875]
    found = exploration(rows, threshold=0.125)
    assert found["zone"].tolist() == [
        "recommend",
        "explore",
        "explore",
        "explore",
        "leave",
        "leave",
        "undecided",
    ]
    assert found["width"].tolist() == pytest.approx([0.25, 0.25, 0.625, 0.25, 0.5, 0.4375, 0.1875])
    table = zone_table(found).set_index("zone")
    assert list(table.index) == list(ZONES) and table["means"].tolist() == list(ZONES.values())
    assert table["cells"].tolist() == [1, 3, 1, 2] and table["users"].tolist() == [1, 2, 1, 2]
    assert table["share"].tolist() == pytest.approx([1 / 7, 3 / 7, 1 / 7, 2 / 7])
    assert table["effect"].tolist() == pytest.approx([0, 2, 6, 4.5])
    assert table["width"].tolist() == pytest.approx([0.25, 0.25, 0.1875, 0.46875])
    assert exploration(rows)["zone"][1] == "recommend"
    assert zone_table(found[:0])["share"].tolist() == [0] * 4

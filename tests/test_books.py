"""The books world: its stored truth against enumeration, its propensities against frequencies."""

import hashlib
import itertools

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.optimize import brentq
from scipy.special import expit, logit

from csrec_core.causal.graph import VARIANTS
from csrec_core.data.books import VIOLATIONS, simulate_books
from csrec_core.errors import InputError

TRUTHS = ["p_system", "p_self", "marginal_system", "marginal_self"]


def test_same_seed_same_log():
    first, second = (simulate_books(users=30, items=20, steps=4, seed=5) for _ in range(2))
    assert_frame_equal(first.log, second.log)
    assert_frame_equal(first.truth, second.truth)
    assert not first.log.equals(simulate_books(users=30, items=20, steps=4, seed=6).log)


def test_shape_and_sources():
    dataset = simulate_books(users=30, items=20, steps=4)
    assert dataset.log.groupby(["user", "source"], observed=True).size().eq(4).all()
    assert len(dataset.truth) == len(dataset.log)
    assert dataset.items["item"].to_list() == list(range(1, 21))
    assert dataset.truth[TRUTHS].to_numpy().min() > 0
    assert dataset.truth[TRUTHS].to_numpy().max() < 1


def test_no_source_effect_is_no_effect():
    truth = simulate_books(users=50, items=20, steps=5, effect=0, trust_spread=0).truth
    np.testing.assert_array_equal(truth["p_system"], truth["p_self"])
    np.testing.assert_array_equal(truth["marginal_system"], truth["marginal_self"])


def test_effect_is_the_source_effect_in_logits():
    truth = simulate_books(users=50, items=20, steps=5, effect=0.7, trust_spread=0, trend=0).truth
    np.testing.assert_allclose(logit(truth["p_system"]) - logit(truth["p_self"]), 0.7, atol=1e-9)


def test_trend_moves_the_effect():
    truth = simulate_books(users=50, items=20, steps=5, effect=1, trust_spread=0, trend=0.5).truth
    system = truth[truth["source"] == "system"]
    lift = (logit(system["p_system"]) - logit(system["p_self"])).groupby(system["t"]).mean()
    np.testing.assert_allclose(lift, [0.5, 0.75, 1, 1.25, 1.5], atol=1e-9)


def over_all_paths(bases, past, accept):
    """The probability of the last acceptance, over all paths of decisions before it, given those of the `past`."""
    total = 0.0
    for path in itertools.product((0, 1), repeat=len(bases) - 1):
        weight, lived = 1.0, list(past)
        for base, decision in zip(bases, path, strict=False):
            p = accept(base, lived)
            weight *= p if decision else 1 - p
            lived.append(decision)
        total += weight * accept(bases[-1], lived)
    return total


@pytest.mark.parametrize("regime", ["system", "self"])
def test_marginal_truth_is_the_sum_over_all_decision_paths(regime):
    """Enumerate every path of earlier decisions of the phase, from the one-step probabilities alone."""
    carry = 0.9
    dataset = simulate_books(users=6, items=10, steps=5, carry_over=carry, seed=2)
    rows = dataset.log.merge(dataset.truth, on=["user", "t", "source"])
    for user in range(1, 7):
        own = rows[rows["user"] == user]
        before = own.loc[own["source"] == "self", "decision"].iloc[-1]
        phase = own[own["source"] == "system"]
        realised = np.concatenate([[before], phase["decision"].to_numpy()[:-1]])
        # The logit with no accepted exposure before it, from the stored one-step probability.
        base = logit(phase[f"p_{regime}"].to_numpy()) - carry * realised
        for t in range(5):
            total = over_all_paths(base[: t + 1], [before], lambda base, past: expit(base + carry * past[-1]))
            assert phase[f"marginal_{regime}"].iloc[t] == pytest.approx(total, abs=1e-12)


def test_decisions_follow_their_probabilities():
    dataset = simulate_books(users=4000, items=30, steps=6, seed=4)
    rows = dataset.log.merge(dataset.truth, on=["user", "t", "source"])
    for source in ("self", "system"):
        own = rows[rows["source"] == source]
        bins = pd.cut(own[f"p_{source}"], 10)
        grouped = own.groupby(bins, observed=True)
        error = grouped["decision"].mean() - grouped[f"p_{source}"].mean()
        assert (error.abs() < 5 * np.sqrt(0.25 / grouped.size())).all()


def test_self_propensities_are_frequencies():
    """A Horvitz-Thompson sum of ones over the items is one, in every world; here to sampling error."""
    dataset = simulate_books(users=20_000, items=12, steps=2, genres=3, seed=1)
    chosen = dataset.log[dataset.log["source"] == "self"]
    total = (1 / chosen["propensity"]).mean()
    assert total == pytest.approx(12, rel=0.03)
    by_item = (1 / chosen["propensity"]).groupby(chosen["item"]).sum() / len(chosen)
    assert by_item.sub(1).abs().max() < 0.1
    assert dataset.log.loc[dataset.log["source"] == "system", "propensity"].eq(1 / 12).all()


def test_fewer_items_than_genres():
    dataset = simulate_books(users=40, items=3, steps=3, genres=10)
    assert dataset.log["item"].between(1, 3).all()
    assert dataset.log["propensity"].between(0, 1, inclusive="right").all()


@pytest.mark.parametrize(
    "knob",
    [{"users": 0}, {"items": 0}, {"steps": 0}, {"browsing": 1.2}, {"targeting": 1.0}, {"publish": "row"}],
)
def test_bad_knobs(knob):
    with pytest.raises(InputError, match=next(iter(knob))):
        simulate_books(**knob)


def test_the_world_without_violations_stays_what_it_was():
    """The log is the one that this world gave before it had knobs of violation."""
    log = simulate_books().log
    digest = hashlib.sha256(log[["item", "decision"]].to_numpy("<i8").tobytes()).hexdigest()
    assert digest.startswith("5cb786ca83ee715e")
    assert np.log(log["propensity"]).sum() == pytest.approx(-380518.9771190244, rel=1e-12)


def test_a_knob_at_zero_changes_nothing():
    plain = simulate_books(users=30, items=20, steps=4, seed=5)
    zero = simulate_books(users=30, items=20, steps=4, seed=5, **dict.fromkeys(VIOLATIONS, 0.0))
    assert plain.fingerprint == zero.fingerprint
    assert_frame_equal(plain.truth, zero.truth)


def test_every_violation_is_a_departure_from_figure_1():
    assert set(VIOLATIONS.values()) <= set(VARIANTS)


def rows_of(dataset):
    """Log and truth, users in the order of their lives, with what came before each row."""
    rows = dataset.log.merge(dataset.truth, on=["user", "t", "source"]).merge(dataset.items, on="item")
    rows = rows.sort_values(["user", "source", "t"], ignore_index=True)
    by_user = rows.groupby("user")
    last, before_last = (by_user["decision"].shift(n).fillna(0) for n in (1, 2))
    return rows.assign(last=last, before_last=before_last, last_genre=by_user["genre"].shift())


@pytest.mark.parametrize(
    ("knob", "adds"),
    [
        ("carry_over_exposure", lambda rows: rows["genre"] == rows["last_genre"]),
        ("second_order", lambda rows: rows["before_last"]),
        ("lagged_preference", lambda rows: (rows["preference_before"] - 0.1).fillna(0)),
    ],
)
def test_a_knob_adds_its_term_to_the_logit_and_leaves_all_else(knob, adds):
    """The two worlds differ by the term alone, once what realised decisions add is taken off."""
    without, with_knob = (
        rows_of(simulate_books(users=40, items=20, steps=6, carry_over=0.6, seed=8, **{knob: value}))
        for value in (0.0, 0.7)
    )
    for column in ("item", "propensity", "preference"):
        np.testing.assert_array_equal(without[column], with_knob[column])
    for column in ("p_system", "p_self"):
        before, after = (logit(rows[column]) - 0.6 * rows["last"] for rows in (without, with_knob))
        np.testing.assert_allclose(after - before, 0.7 * adds(with_knob), atol=1e-9)


def test_amplification_adds_to_the_log_preference_of_accepted_genres():
    """Of two genres, the log odds of one tell both preferences, whichever of the two a row shows."""
    odds = []
    for value in (0.0, 0.4):
        rows = rows_of(simulate_books(users=40, items=20, genres=2, steps=6, seed=8, amplification=value))
        sign = np.where(rows["genre"] == "genre 1", 1, -1)
        accepted = (sign * rows["decision"]).groupby(rows["user"])
        rows["gain"] = accepted.cumsum() - sign * rows["decision"]
        odds.append(logit(rows["preference"]) * sign - value * rows["gain"])
        assert rows["marginal_system"].isna().all() == (value > 0)
    np.testing.assert_allclose(odds[1], odds[0], atol=1e-9)


def test_the_hidden_mood_is_summed_out_of_the_truth():
    """With two genres the mood hits the exposed one half of the time."""
    without, moody = (
        rows_of(simulate_books(users=40, items=20, genres=2, steps=6, carry_over=0, seed=8, confounder=value))
        for value in (0.0, 0.8)
    )
    system = without["source"] == "system"  # the mood leaves the system's exposures as they were
    for column in ("p_system", "p_self"):
        plain = logit(without.loc[system, column])
        expected = (expit(plain + 0.4) + expit(plain - 0.4)) / 2
        np.testing.assert_allclose(moody.loc[system, column], expected, atol=1e-12)


def test_the_mood_confounds_self_chosen_decisions_only():
    rows = rows_of(simulate_books(users=4000, items=30, steps=6, seed=4, confounder=1.5))
    error = (rows["decision"] - rows["p_self"].where(rows["source"] == "self", rows["p_system"])).groupby(
        rows["source"], observed=True
    )
    noise = 0.5 / np.sqrt(error.size())
    assert error.mean()["self"] > 10 * noise["self"]
    assert abs(error.mean()["system"]) < 4 * noise["system"]


def test_propensities_know_preferences_and_no_mood():
    dataset = simulate_books(users=20_000, items=12, steps=2, genres=3, seed=1, confounder=1.5)
    chosen = dataset.log[dataset.log["source"] == "self"]
    by_item = (1 / chosen["propensity"]).groupby(chosen["item"]).sum() / len(chosen)
    assert by_item.sub(1).abs().max() < 0.1


@pytest.mark.parametrize("regime", ["system", "self"])
def test_truth_under_all_violations_is_the_sum_over_paths_and_moods(regime):
    """Enumerate decisions and moods; the logit of a row without them is found from its one-step truth."""
    first, second, mood, genres = 0.9, 0.5, 0.8, 4
    knobs = {"carry_over_exposure": 0.6, "second_order": second, "lagged_preference": 1.0, "confounder": mood}
    rows = rows_of(
        simulate_books(users=5, items=12, steps=4, genres=genres, carry_over=first, seed=2, **knobs)
    )

    def accept(base, past):
        *_, before_last, last = past
        moods = [1 - 1 / genres] + [-1 / genres] * (genres - 1)  # one of the moods is for this genre
        return np.mean([expit(base + first * last + second * before_last + mood * m) for m in moods])

    for _, own in rows.groupby("user"):
        phase = own[own["source"] == "system"]
        states = phase[["before_last", "last"]].to_numpy()
        bases = [
            brentq(lambda base, p=p, state=state: accept(base, state) - p, -20, 20, xtol=1e-13)
            for p, state in zip(phase[f"p_{regime}"], states, strict=True)
        ]
        for t, marginal in enumerate(phase[f"marginal_{regime}"]):
            total = over_all_paths(bases[: t + 1], states[0], accept)
            assert marginal == pytest.approx(total, abs=1e-9)


def test_measured_preferences():
    rows = rows_of(simulate_books(users=40, items=20, genres=1, steps=3))
    np.testing.assert_array_equal(rows["preference"], 1)  # of a single genre
    first = (rows["t"] == 1) & (rows["source"] == "self")
    np.testing.assert_array_equal(rows["preference_before"].isna(), first)
    still = rows_of(simulate_books(users=40, items=20, steps=3, drift=0))
    seen = still["preference_before"].notna()
    np.testing.assert_allclose(
        still.loc[seen, "preference"], still.loc[seen, "preference_before"], atol=1e-15
    )


@pytest.mark.parametrize("regime", ["system", "self"])
def test_truth_under_fatigue_is_the_sum_over_all_decision_paths(regime):
    """Fatigue remembers the rejections in a row; the path enumerates them from the realised ones on."""
    carry, tired = 0.6, 0.4
    rows = rows_of(simulate_books(users=4, items=12, steps=8, carry_over=carry, fatigue=tired, seed=2))

    def run_of(decisions):
        """Rejections at the end of a list of decisions, at most five."""
        return min(5, len(decisions) if 1 not in decisions else decisions[::-1].index(1))

    def accept(base, past):
        return expit(base + carry * past[-1] - tired * run_of(past))

    for _, own in rows.groupby("user"):
        lived = own["decision"].to_list()
        phase = own[own["source"] == "system"]
        stored = logit(phase[f"p_{regime}"].to_numpy())
        bases = [
            value + tired * run_of(lived[: 8 + t]) - carry * lived[7 + t] for t, value in enumerate(stored)
        ]
        for t, marginal in enumerate(phase[f"marginal_{regime}"]):
            total = over_all_paths(bases[: t + 1], lived[:8], accept)
            assert marginal == pytest.approx(total, abs=1e-10)


def test_the_see_term_is_bayes_over_moods_and_decisions():
    """One book a genre and published preferences: enumerate mood, look and decision of the readers' own regime.

    P(D_t, S_{1:t}) / P(S_{1:t}) by enumeration of all moods and decisions, given the preferences.
    """
    genres, browsing, mood, affinity, carry, base = 3, 0.2, 1.1, 3.0, 0.6, -1.2
    rows_per_user = 3
    world = simulate_books(
        users=6, items=genres, genres=genres, steps=rows_per_user, drift=0, quality_spread=0,
        browsing=browsing, confounder=mood, affinity=affinity, carry_over=carry, base=base,
        publish="users", seed=3,
    )  # fmt: skip
    preferences = world.users.set_index("user")
    for user, own in rows_of(world).groupby("user"):
        preference = preferences.loc[user, [f"preference: genre {k + 1}" for k in range(genres)]].to_numpy()
        for source in ("self", "system"):
            phase = own[own["source"] == source]
            before = int(phase["last"].iloc[0])
            shown = phase["genre"].str.removeprefix("genre ").astype(int).to_numpy() - 1
            for t in range(rows_per_user):
                joint = {0: 0.0, 1: 0.0}
                for path in itertools.product(itertools.product(range(genres), (0, 1)), repeat=t + 1):
                    weight, last = 1.0, before
                    for genre, (feeling, decision) in zip(shown, path, strict=False):
                        odds = preference * np.exp(mood * (np.arange(genres) == feeling))
                        look = (1 - browsing) * odds[genre] / odds.sum() + browsing / genres
                        craving = mood * ((feeling == genre) - 1 / genres)
                        p = expit(base + affinity * (preference[genre] - 1 / genres) + carry * last + craving)
                        weight *= look * (p if decision else 1 - p) / genres
                        last = decision
                    joint[last] += weight
                seen = joint[1] / (joint[0] + joint[1])
                assert phase["marginal_seen"].iloc[t] == pytest.approx(seen, abs=1e-10)
        assert (own["p_seen"] >= own["p_self"]).all()  # who came by choice rather had the mood for it


def test_without_a_mood_seeing_is_doing():
    truth = simulate_books(users=30, items=20, steps=5, fatigue=0.3).truth
    np.testing.assert_array_equal(truth["p_seen"], truth["p_self"])
    np.testing.assert_array_equal(truth["marginal_seen"], truth["marginal_self"])


def test_the_see_term_holds_where_the_mood_confounds():
    """Self-chosen decisions follow the see-term, and not the do-term."""
    rows = rows_of(simulate_books(users=4000, items=30, steps=6, seed=4, confounder=1.5))
    chosen = rows[rows["source"] == "self"]
    noise = 0.5 / np.sqrt(len(chosen))
    assert abs((chosen["decision"] - chosen["p_seen"]).mean()) < 4 * noise


def test_a_logged_policy_knows_its_propensities():
    """Horvitz-Thompson sums of ones are one for every book, and the aim follows what was accepted."""
    world = simulate_books(users=8000, items=12, steps=6, genres=3, targeting=0.7, seed=1)
    system = world.log[world.log["source"] == "system"]
    by_item = (1 / system["propensity"]).groupby(system["item"]).sum() / len(system)
    np.testing.assert_allclose(by_item, 1, atol=0.08)
    assert system["propensity"].nunique() > 50
    uniform = simulate_books(users=8000, items=12, steps=6, genres=3, seed=1).log
    assert uniform[uniform["source"] == "self"].equals(world.log[world.log["source"] == "self"])
    rows = rows_of(world)
    liked = rows[(rows["source"] == "self") & (rows["decision"] == 1)].groupby(["user", "genre"]).size()
    rows["liked"] = liked.reindex(pd.MultiIndex.from_frame(rows[["user", "genre"]]), fill_value=0).to_numpy()
    shown = rows.groupby("source")["liked"].mean()
    plain = rows_of(simulate_books(users=8000, items=12, steps=6, genres=3, seed=1))
    plain["liked"] = liked.reindex(
        pd.MultiIndex.from_frame(plain[["user", "genre"]]), fill_value=0
    ).to_numpy()
    assert shown["system"] > plain.groupby("source")["liked"].mean()["system"] + 0.2


def test_published_preferences_are_the_preferences():
    plain = simulate_books(users=30, items=20, steps=4, seed=5)
    by_row = simulate_books(users=30, items=20, steps=4, seed=5, publish="rows")
    np.testing.assert_array_equal(by_row.log["feature_preference"], plain.truth["preference"])
    assert by_row.log.drop(columns="feature_preference").equals(plain.log)
    still = simulate_books(users=30, items=20, steps=4, seed=5, publish="users", drift=0)
    wide = still.users.set_index("user").rename(columns=lambda name: name.removeprefix("preference: "))
    np.testing.assert_allclose(wide.sum(axis=1), 1)
    rows = rows_of(still)
    np.testing.assert_allclose(
        [wide.loc[user, genre] for user, genre in zip(rows["user"], rows["genre"], strict=True)],
        rows["preference"],
    )

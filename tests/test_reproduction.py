"""The reproduction: Eq. 9 in each form, what each preset sees, readouts, controls, tables."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import papermill
import pytest
import torch
from conftest import PROJECT
from scipy.optimize import approx_fprime
from scipy.special import expit, logit
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from csrec_core.data.books import simulate_books
from csrec_core.data.loaders import load_gpt4books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.data.profile import profile_log
from csrec_core.errors import InputError
from csrec_core.evaluation.controls import ALWAYS, history_lookup, predict_history_controls
from csrec_core.models.acceptance import build_model
from csrec_core.models.csrec import (
    CONSTRAINTS,
    Objective,
    csrec_loss,
    predict_csrec,
    recursion,
    split_exposures,
    train_csrec,
)
from csrec_core.models.next_item import build_backbone, rank_next_item
from csrec_core.models.preference import Readouts, read_out
from csrec_core.models.sequences import to_sequences
from csrec_core.models.train import Training
from csrec_core.reproduction import experiment as module
from csrec_core.reproduction import presets
from csrec_core.reproduction.ablation import (
    alpha_sweep,
    learning_curve,
    penalty_path,
)
from csrec_core.reproduction.catalogue import rank_shares, softmax_readouts, with_repeats
from csrec_core.reproduction.experiment import Reproduction, sample_users
from csrec_core.reproduction.findings import line_words, paper_claim
from csrec_core.reproduction.presets import PRESETS, Effort
from csrec_core.reproduction.published import (
    ACCEPTS_ALL,
    AHR_REASONS,
    METRICS,
    PUBLISHED,
    compare_with_published,
    with_footnotes,
)
from csrec_core.reproduction.tables import (
    ORACLE,
    TABULAR,
    auc_gain,
    control_probabilities,
    csrec_name,
    experiment,
    margin_of_oracle,
    reference_scores,
    shuffle_exposures,
    summarise,
)

QUICK = Training(epochs=2, batch=32, threads=1)
SMALL = {"hidden": 8, "dropout": 0.1}


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=80, items=20, steps=8, seed=2)


@pytest.fixture(scope="module")
def bench(world, tmp_path_factory):
    effort = Effort(baseline=QUICK, csrec=QUICK, hyper=SMALL, prefix_users=30)
    return Reproduction(world, effort, tmp_path_factory.mktemp("trials"))


@pytest.fixture(scope="module")
def sequences(world):
    return to_sequences(world, length=8)


def some_readouts(users=3, steps=4):
    generator = torch.Generator().manual_seed(0)
    filtered, reject, accept = (
        torch.rand(users, steps, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    return Readouts(filtered, reject, accept, filtered, filtered)


def reference(logits, decisions, real, hidden, readouts, penalty, constraint):
    """Eq. 9 cell by cell, from the formula."""
    f = expit(logits)
    tilde, r0, r1 = (getattr(readouts, n).numpy() for n in ("filtered", "after_reject", "after_accept"))
    total = 0.0
    for u, t in zip(*np.nonzero(real), strict=True):
        target = tilde[u, t]
        if hidden[u] and t > 0:
            target = r1[u, t] * f[u, t - 1]
            if constraint != "printed":
                target += r0[u, t] * (1 - f[u, t - 1])
        gap = f[u, t] - target
        total -= decisions[u, t] * np.log(f[u, t]) + (1 - decisions[u, t]) * np.log(1 - f[u, t])
        total += penalty * (gap**2 if constraint == "squared" else abs(gap))
    return total / real.sum()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("hidden", [(True, True, True), (False, False, False), (True, False, True)])
@pytest.mark.parametrize("penalty", [0.0, 0.7, 3.0])
def test_every_form_of_equation_9_and_its_gradient(constraint, hidden, penalty):
    """Marginal, filtered and both; the gradient goes through f_{t-1}, too."""
    readouts, hidden = some_readouts(), np.array(hidden)
    values = np.random.default_rng(1).normal(size=(3, 4))
    decisions = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]])
    real = np.array([[True] * 4, [True, True, True, False], [True] * 4])
    logits = torch.tensor(values, requires_grad=True)
    tensors = (torch.tensor(part) for part in (decisions, real, hidden))
    loss = csrec_loss(logits, *tensors, readouts, Objective(penalty=penalty, constraint=constraint))
    loss.backward()

    def plain(flat):
        return reference(flat.reshape(3, 4), decisions, real, hidden, readouts, penalty, constraint)

    assert loss.item() == pytest.approx(plain(values.ravel()), rel=1e-9)
    numeric = approx_fprime(values.ravel(), plain, 1e-7).reshape(3, 4)
    np.testing.assert_allclose(logits.grad.numpy(), numeric, atol=1e-6)


def test_the_recursion_is_exact_where_the_data_come_from_f_tilde():
    """TER = 0: over all paths of decisions drawn from f~, its own marginal minimises Eq. 9 exactly."""
    steps, readouts = 4, some_readouts(users=1, steps=4)
    first, r0, r1 = (getattr(readouts, n)[0].numpy() for n in ("filtered", "after_reject", "after_accept"))
    paths = np.array(list(itertools.product([0, 1], repeat=steps)))
    weights = np.ones(len(paths))
    for t in range(steps):
        accept = np.full(len(paths), first[0]) if t == 0 else np.where(paths[:, t - 1] == 1, r1[t], r0[t])
        weights *= np.where(paths[:, t] == 1, accept, 1 - accept)
    marginal = torch.tensor(weights @ paths)[None]
    torch.testing.assert_close(recursion(marginal, readouts), marginal)

    for penalty in (0.0, 1.0, 50.0):
        logits = torch.tensor(logit(marginal.numpy()), requires_grad=True)
        every, hidden = torch.ones(1, steps, dtype=torch.bool), torch.tensor([True])
        loss = sum(
            weight
            * csrec_loss(
                logits, torch.tensor(path)[None], every, hidden, readouts, Objective(penalty=penalty)
            )
            for weight, path in zip(weights, paths, strict=True)
        )
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.abs().max() < 1e-12


def test_the_unsquared_constraint_ends_the_effect_past_a_threshold():
    """In one free cell the gap between rate and f~ goes to 0 once penalty f (1 - f) exceeds it."""
    rate, tilde = 0.6, 0.5
    grid = np.linspace(0.4, 0.7, 3001)
    for penalty, gone in ((0.2, False), (1.0, True)):
        loss = -rate * np.log(grid) - (1 - rate) * np.log1p(-grid) + penalty * np.abs(grid - tilde)
        best = grid[loss.argmin()]
        assert (abs(best - tilde) < 1e-3) == gone == (penalty * tilde * (1 - tilde) > rate - tilde)
        readouts = Readouts(*(torch.full((1, 1), tilde, dtype=torch.float64) for _ in range(5)))
        cells = torch.ones(1, 1, dtype=torch.bool)
        ours = sum(
            share
            * csrec_loss(
                torch.tensor([[logit(best)]]),
                torch.tensor([[d]]),
                cells,
                ~cells[0],
                readouts,
                Objective(penalty=penalty, constraint="absolute"),
            ).item()
            for d, share in ((1, rate), (0, 1 - rate))
        )
        assert ours == pytest.approx(loss.min(), abs=1e-9)


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec"])
def test_what_is_held_out_in_time_is_not_learned_from(sequences, backbone):
    """Turning the decisions of the tested exposures over changes no weight."""
    readouts = read_out(build_model(sequences, **SMALL).eval(), sequences)
    step = torch.arange(8).expand_as(sequences.system_items)
    options = {"training": QUICK, "backbone": backbone, "learn": step < 4, "held": step == 4}
    turned = sequences.system_decisions.clone()
    turned[:, 5:] = 1 - turned[:, 5:]
    fitted = [
        train_csrec(log, readouts, torch.arange(40), Objective(), **options, **SMALL)[0]
        for log in (sequences, replace(sequences, system_decisions=turned))
    ]
    for mine, theirs in zip(*(model.state_dict().values() for model in fitted), strict=True):
        assert torch.equal(mine, theirs)


def test_a_backbone_that_looks_ahead_is_asked_for_what_is_wanted_alone(sequences):
    model = build_model(sequences, backbone="bert4rec", **SMALL).eval()
    wanted = torch.zeros_like(sequences.system_items, dtype=torch.bool)
    wanted[:, 5:7] = True
    rows = torch.arange(10)
    some, every = (predict_csrec(model, sequences, rows, wanted=mask) for mask in (wanted, None))
    for few, full in zip(some, every, strict=True):
        torch.testing.assert_close(few[:, 5:7], full[:, 5:7])
        assert few[:, :5].eq(0.5).all()


def steps_only(users=40, steps=40, self_steps=6):
    """A log whose decisions follow the step alone."""
    rng = np.random.default_rng(0)
    rows = []
    for source, count in (("self", self_steps), ("system", steps)):
        t = np.tile(np.arange(1, count + 1), users)
        decision = np.ones(len(t), dtype=int) if source == "self" else (t * 7 % 5 > 1).astype(int)
        user = np.repeat(np.arange(1, users + 1), count)
        rows.append(pd.DataFrame({"user": user, "t": t, "decision": decision, "source": source}))
    log = pd.concat(rows).assign(item=rng.integers(1, 13, users * (steps + self_steps)))
    return Dataset(validate_log(log))


def test_the_presets_split_as_stated(tmp_path):
    bench = Reproduction(steps_only(), Effort(), tmp_path)
    step = np.arange(1, 41)
    learned, held = (mask[0].numpy() for mask in bench.masks(PRESETS["paper"]))
    assert step[learned].tolist() == list(range(1, 39)) and step[held].tolist() == [39]
    learned, held = (mask[0].numpy() for mask in bench.masks(PRESETS["sound"]))
    assert step[learned].tolist() == list(range(1, 35)) and step[held].tolist() == [35, 36, 37]
    learned, held = bench.masks(PRESETS["crossed"])
    assert learned.all() and held is None
    assert sorted(bench.cells.loc[bench.cells["tested"], "step"].unique()) == [38, 39, 40]
    with pytest.raises(InputError, match="at least 4"):
        presets.tested_steps(3)


def test_a_short_sequence_is_split_without_overlap(tmp_path):
    bench = Reproduction(steps_only(steps=4), Effort(), tmp_path)
    learned, held = bench.masks(PRESETS["sound"])
    assert learned[0].tolist() == [True, True, False, False] and held[0].tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert bench.cells.loc[bench.cells["tested"], "step"].unique().tolist() == [4]


def test_shuffling_hides_the_step_and_nothing_else():
    dataset = steps_only(users=200)
    shuffled = shuffle_exposures(dataset, seed=1)
    own = dataset.log[dataset.log["source"] == "self"]
    pd.testing.assert_frame_equal(shuffled.log[shuffled.log["source"] == "self"], own)
    by = ["user", "source", "item", "decision"]
    before, after = (d.log.value_counts(by).sort_index() for d in (dataset, shuffled))
    pd.testing.assert_series_equal(before, after)
    assert profile_log(dataset).explained.loc["step", "share"] == pytest.approx(1)
    hidden = profile_log(shuffled).explained.loc["step"]
    assert hidden["share"] < 2 * hidden["chance"]


@torch.no_grad()
def test_softmax_readouts_are_one_window_each(sequences):
    model = build_backbone(sequences, positions=9, **SMALL).eval()
    readouts = softmax_readouts(model, sequences)
    for user, t in itertools.product(range(5), range(8)):
        chosen = sequences.self_items[user][sequences.self_decisions[user] == 1].tolist()
        item = sequences.system_items[user, t].item()
        for accepted, table in ((False, readouts.after_reject), (True, readouts.after_accept)):
            window = chosen + [sequences.system_items[user, t - 1].item()] * (accepted and t > 0)
            window = torch.tensor([window[-8:]], dtype=torch.long).reshape(1, -1)
            share = torch.softmax(model.score(model.encode_end(window)), dim=1)[0, item - 1]
            torch.testing.assert_close(table[user, t], share)
        given = (
            readouts.after_accept if t and sequences.system_decisions[user, t - 1] else readouts.after_reject
        )
        assert readouts.filtered[user, t] == given[user, t]
    torch.testing.assert_close(recursion(readouts.marginal, readouts), readouts.marginal)


@torch.no_grad()
def test_rank_shares_are_those_of_the_accepted_past(sequences):
    model = build_backbone(sequences, positions=16, **SMALL).eval()
    share = rank_shares(model, sequences, last=2)
    assert share[:, :-2].isnan().all()
    for user in range(5):
        for t in (6, 7):
            seen = sequences.items[user, : 8 + t][sequences.decisions[user, : 8 + t] == 1]
            scores = model.score(model.encode_end(seen[None]))[0]
            rank = (scores >= scores[sequences.system_items[user, t] - 1]).sum().item()
            assert share[user, t].item() == pytest.approx(rank / len(sequences.catalogue))


@torch.no_grad()
def test_the_last_item_is_ranked_in_the_whole_catalogue(sequences):
    model = build_backbone(sequences, positions=9, **SMALL).eval()
    ranks = rank_next_item(model, with_repeats(sequences)).set_index("user")
    assert ranks["candidates"].eq(20).all()
    assert len(ranks) == sequences.self_decisions[:, -1].sum().item()
    user = ranks.index[0]
    row = np.flatnonzero(sequences.users == user)[0]
    state = model.encode_end(sequences.self_items[[row], :-1], sequences.self_decisions[[row], :-1])
    scores = model.score(state)[0]
    rank = (scores >= scores[sequences.self_items[row, -1] - 1]).sum().item()
    assert ranks.loc[user, "rank"] == rank


def test_what_is_done_is_kept(bench, monkeypatch):
    first = bench.trial("sasrec", 0, PRESETS["sound"])

    def forbidden(*_, **__):
        raise AssertionError("trained again")

    for name in ("train_preference", "train_csrec", "train_next_item", "read_out"):
        monkeypatch.setattr(module, name, forbidden)
    again = Reproduction(bench.dataset, bench.effort, bench.folder).trial("sasrec", 0, PRESETS["sound"])
    pd.testing.assert_frame_equal(again.cells, first.cells)
    with pytest.raises(AssertionError, match="trained again"):
        bench.trial("sasrec", 1, PRESETS["sound"])


def test_a_run_cut_short_goes_on_where_it_stopped(bench, tmp_path, monkeypatch):
    whole = bench.trial("sasrec", 0, PRESETS["crossed"])
    calls, real = [], module.train_csrec

    def stop_at_second(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, "train_csrec", stop_at_second)
    other = Reproduction(bench.dataset, bench.effort, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        other.trial("sasrec", 0, PRESETS["crossed"])
    resumed = other.trial("sasrec", 0, PRESETS["crossed"])
    assert len(calls) == 3
    pd.testing.assert_frame_equal(resumed.cells, whole.cells)


def test_a_table_of_trials_controls_and_chance(bench):
    csrec = [(name, 0, PRESETS["paper"]) for name in ("sasrec", "bert4rec")]
    trials = experiment(bench, [("gru4rec", 0, None), *csrec])
    assert set(trials["model"]) == {"GRU4Rec", "CSRec (SASRec)", "CSRec (BERT4Rec)"}
    tested = bench.cells[bench.cells["tested"]]
    references = reference_scores(bench, control_probabilities(bench), backbone="gru4rec", seed=0)
    summary = summarise(pd.concat([trials, references], ignore_index=True))
    value = summary.set_index(["model", "metric"])["mean"]
    rate = tested["decision"].mean()
    assert value["random ranking", "AHR@0.2"] == pytest.approx(0.2 * rate + 0.8 * (1 - rate))
    assert value["random ranking", "HR@10"] == pytest.approx(10 / 20)
    assert value["always accept", "AHR@0.5"] == pytest.approx(rate)
    assert value[ORACLE, "AUC"] > max(value["majority", "AUC"], value["step", "AUC"])
    margin = margin_of_oracle(summary, [csrec_name("sasrec"), TABULAR, ORACLE])
    assert margin[ORACLE] == 1 and set(margin) == {"CSRec (SASRec)", TABULAR, ORACLE}
    # few users only, where each prefix is a window of its own
    assert bench.trial("bert4rec", 0, PRESETS["paper"]).cells["user"].nunique() == 30
    assert bench.sized("sasrec") is bench and len(bench.sized("bert4rec").sequences.users) == 30
    with pytest.raises(InputError, match=r"unknown backbone 'sasrek'"):
        experiment(bench, [("sasrek", 0, None)])


def test_nothing_of_a_users_last_decision_is_in_its_crossed_prediction(world, bench, tmp_path):
    """Neither training nor calibration may know it; the other half's f does, for it learns from it."""
    cells = bench.trial("sasrec", 0, PRESETS["crossed"]).cells
    last = cells["step"] == cells["step"].max()
    flipped = cells[last & (cells["fold"] == 1)]
    log = world.log.copy()
    system = log["source"] == "system"
    hit = system & log["user"].isin(flipped["user"]) & (log["t"] == log.loc[system, "t"].max())
    assert hit.sum() == len(flipped) > 30
    log.loc[hit, "decision"] = 1 - log.loc[hit, "decision"]
    other = replace(bench, dataset=replace(world, log=log), folder=tmp_path)
    again = other.trial("sasrec", 0, PRESETS["crossed"]).cells
    one, two = (table.loc[last].set_index("fold")["f"] for table in (cells, again))
    np.testing.assert_array_equal(one.loc[1], two.loc[1])
    assert (one.loc[2] != two.loc[2]).all()


def test_users_are_held_out_whole(sequences):
    learning, stopping, *_ = split_exposures(sequences, torch.arange(5, 45), None, None, seed=3)
    assert len(stopping) == 4 and sorted([*learning.tolist(), *stopping.tolist()]) == list(range(5, 45))


def test_trials_in_two_processes_are_those_of_one(world, bench, tmp_path):
    wanted = [("gru4rec", 0, None), ("sasrec", 0, PRESETS["paper"])]
    together = replace(bench, folder=tmp_path, jobs=2)
    for one, other in zip(bench.trials(wanted), together.trials(wanted), strict=True):
        pd.testing.assert_frame_equal(one.cells, other.cells)
        pd.testing.assert_frame_equal(one.ranks, other.ranks)
    mine, of_others = (
        {path.parent.name for path in folder.rglob("*-cells.parquet")} for folder in (tmp_path, bench.folder)
    )
    assert mine and mine <= of_others  # under the same keys: the log is read back as it was


def test_seeds_and_users_are_put_together():
    one = pd.DataFrame(
        {"model": "m", "metric": "AUC", "mean": [0.6], "lower": [0.5], "upper": [0.65], "seed": 0}
    )
    (row,) = summarise(one).to_dict("records")
    assert (row["lower"], row["mean"], row["upper"], row["seeds"]) == (0.5, 0.6, 0.65, 1)
    means = [0.6, 0.62, 0.67]
    three = pd.concat(
        [one.assign(mean=m, lower=m - 0.03, upper=m + 0.03, seed=s) for s, m in enumerate(means)]
    )
    (row,) = summarise(three).to_dict("records")
    half = np.hypot(0.03, student.ppf(0.975, 2) * np.std(means, ddof=1) / np.sqrt(3))
    assert row["mean"] == pytest.approx(0.63) and row["upper"] - row["mean"] == pytest.approx(half)
    far = three.assign(mean=[0.1, 0.9, 1.0])  # half is over 1 here: the interval ends where an AUC does
    (row,) = summarise(far).to_dict("records")
    assert (row["lower"], row["upper"]) == (0, 1)
    (row,) = summarise(far.assign(metric="BCE")).to_dict("records")
    assert row["lower"] == 0 and row["upper"] > 1


def test_published_figures_are_whole_and_compared():
    assert PUBLISHED.groupby("table")["model"].nunique().to_dict() == {"1": 7, "3-4": 4}
    assert len(PUBLISHED) == 7 * len(METRICS) + 4 * 2 and PUBLISHED["published"].between(0, 1).all()
    own = pd.DataFrame({"model": "GRU4Rec", "metric": ["HR@10", "AHR@0.2"], "mean": [0.1, 0.3]})
    table = compare_with_published(own.assign(lower=own["mean"] - 0.01, upper=own["mean"] + 0.01))
    row = table.set_index(["model", "metric"])
    assert row.loc[("GRU4Rec", "HR@10"), "difference"] == pytest.approx(0.1 - 0.1018)
    assert row.loc[("GRU4Rec", "HR@10"), "agrees"] and not row.loc[("GRU4Rec", "AHR@0.2"), "agrees"]
    assert row.loc[("Caser", "HR@10"), "reproduced"] != row.loc[("Caser", "HR@10"), "reproduced"]
    assert row.loc[("Caser", "HR@10"), "note"] == "not run" and row.loc[("GRU4Rec", "HR@10"), "note"] == ""
    assert row.loc[("GRU4Rec", "AHR@0.2"), "note"] == "outside of the interval"
    far = own.assign(model="CSRec (BSARec)", lower=own["mean"], upper=own["mean"])
    notes = [
        compare_with_published(far, preset=name).set_index(["model", "metric"])["note"]
        for name in AHR_REASONS
    ]
    assert [note["CSRec (BSARec)", "AHR@0.2"] for note in notes] == list(AHR_REASONS.values())
    always = far.assign(model="always accept", mean=[0.1, 0.302])  # f's AHR@0.2 of 0.3 is as good as its
    note = compare_with_published(pd.concat([far, always]), preset="unconstrained")
    assert note.set_index(["model", "metric"])["note"]["CSRec (BSARec)", "AHR@0.2"] == ACCEPTS_ALL
    shown, notes = with_footnotes(table)
    assert shown["metric"].to_list() == ["AHR@0.2", "HR@10"] and shown["note"].to_list() == ["a", ""]
    assert shown["reproduced"].to_list() == ["0.3000 [0.2900, 0.3100]", "0.1000 [0.0900, 0.1100]"]
    assert notes.startswith("a: outside of the interval. Not run: GRU4Rec, Caser, SASRec,")


def test_the_lookup_of_earlier_decisions_by_hand():
    decisions = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]])
    cells = pd.DataFrame(
        {"user": np.repeat(range(5), 3), "step": np.tile([1, 2, 3], 5), "decision": decisions.ravel()}
    )
    cells["fold"] = np.repeat([1, 1, 2, 2, 2], 3)
    looked = history_lookup(cells, last=1).to_numpy().reshape(5, 3)
    assert np.isnan(looked[:, :2]).all()
    # users 0 and 1 find user 2; user 2 finds both of them; users 3 and 4 find nobody: the mean of the others
    np.testing.assert_allclose(looked[:, 2], [1, 1, 0.5, 0.5, 0.5])
    controls = predict_history_controls(cells, last=1)
    np.testing.assert_allclose(controls["repeat last"].dropna(), [0, 0, 0, 0, 1])


def test_the_lookup_knows_the_papers_data(real_data):
    """The first 37 decisions tell the last three of the other half of the users."""
    dataset = load_gpt4books(real_data / "gpt4books")
    cells = Reproduction(dataset, Effort(), real_data).cells
    tested = cells[cells["tested"]]
    controls = predict_history_controls(cells, last=3).loc[tested.index]
    right = ((controls >= 0.5).astype(int).eq(tested["decision"], axis=0)).mean()
    assert right["history lookup"] == pytest.approx(0.984, abs=1e-3)
    assert right["always accept"] == pytest.approx(0.9323, abs=5e-5)


def test_decisions_that_are_templates_are_recognised(tmp_path):
    """A log of four nested templates: across users f reads the template from the earlier decisions."""
    users, steps = 160, 12
    rng = np.random.default_rng(0)
    level, threshold = rng.integers(0, 4, users), np.resize([0, 2, 1, 4, 3], steps)
    log = steps_only(users=users, steps=steps).log
    system = log["source"] == "system"
    log.loc[system, "decision"] = (level[:, None] >= threshold).astype("int8").ravel()
    training = Training(epochs=40, patience=40, batch=8, rate=5e-3, threads=1)
    effort = Effort(baseline=QUICK, csrec=training, hyper={"hidden": 16, "dropout": 0.0})
    bench = Reproduction(Dataset(log), effort, tmp_path)
    cells = bench.trial("gru4rec", 0, replace(PRESETS["crossed"], penalty=0.0, estimand="filtered")).cells
    assert ((cells["f"] >= 0.5) == cells["decision"]).mean() > 0.95


def test_ablations_are_tidy(bench):
    sound = PRESETS["sound"]
    path = penalty_path(bench, "sasrec", preset=sound, penalties=[1.0, 10.0])
    assert path["penalty"].to_list() == [0.0, 1.0, 10.0]
    assert path["expected"].iloc[0] == pytest.approx(path["effect"].iloc[0])
    assert path["expected"].abs().is_monotonic_decreasing
    curve = learning_curve(bench, "sasrec", preset=PRESETS["crossed"], shares=[0.5, 1.0])
    assert curve["users"].to_list() == [20, 40]


def test_gain_is_of_the_difference():
    rng = np.random.default_rng(0)
    cells = pd.DataFrame({"user": np.repeat(np.arange(300), 4), "decision": rng.integers(0, 2, 1200)})
    cells["f"] = rng.random(1200) + cells["decision"]
    assert auc_gain(cells, cells["f"], 2 * cells["f"]) == (0, 0, 0)
    other = cells["f"] + rng.normal(size=1200)
    mean, lower, upper = auc_gain(cells, cells["f"], other)
    aucs = [roc_auc_score(cells["decision"], values) for values in (cells["f"], other)]
    assert mean == pytest.approx(aucs[0] - aucs[1]) and lower < mean < upper


def test_a_second_stage_that_does_not_help_is_undone(sequences):
    """On coin flips the encoder has nothing to add: f is what the first stage left."""
    coins = torch.randint(0, 2, sequences.system_decisions.shape, generator=torch.Generator().manual_seed(0))
    log = replace(sequences, system_decisions=coins)
    readouts = read_out(build_model(log, **SMALL).eval(), log)
    training = Training(epochs=6, batch=4, rate=0.02, threads=1)
    options = {"training": training, "held": torch.rand(coins.shape) < 0.5}
    model, history = train_csrec(log, readouts, torch.arange(80), Objective(penalty=0.0), **options, **SMALL)
    best = history.groupby("stage")["validation"].min()
    undone = best["user state"] <= best["encoder"]
    assert (model.query.weight.abs().max().item() == 0) == undone


def test_ahr_of_what_knows_nothing():
    rng = np.random.default_rng(0)
    cells = pd.DataFrame({"user": np.arange(40_000), "decision": rng.random(40_000) < 0.93})
    sweep = alpha_sweep(cells, {"sure": np.ones(40_000)}, {"drawn": rng.random(40_000)})
    sweep = sweep.set_index(["model", "alpha"])["AHR"]
    for alpha in (0.2, 0.5):
        assert sweep["drawn", alpha] == pytest.approx(sweep["ranking at random", alpha], abs=0.01)
        assert sweep["sure", alpha] == sweep["always accept", alpha]
    assert sweep["ranking at random", 0.2] == pytest.approx(0.24, abs=0.01)


def test_a_sample_of_users_is_whole(world):
    few = sample_users(world, 10, seed=3)
    assert few.log["user"].nunique() == 10 and len(few.log) == 10 * 16
    assert sample_users(world, 80) is world


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ((0.90, 0.88, 0.92), "right 10.0 points more often than"),
        ((0.75, 0.72, 0.78), "right 5.0 points less often than"),
        ((0.81, 0.79, 0.83), "not known to be right more often than accepting every exposure, right in 80.0%"),
    ],
)  # fmt: skip
def test_the_claim_is_one_sentence_with_one_number(own, said):
    rows = [("CSRec (SASRec)", "AHR@0.5", *own), (ALWAYS, "AHR@0.5", 0.8, 0.8, 0.8)]
    summary = pd.DataFrame(rows, columns=["model", "metric", "mean", "lower", "upper"])
    sentence, numbers = paper_claim({"paper": summary}, "sasrec")
    assert said in sentence and len(sentence.split()) <= 25 and len(re.findall(r"[\d.]*\d", sentence)) == 1
    assert numbers["csrec_over_always"] == pytest.approx([value - 0.8 for value in own])


def test_where_lines_begin_and_end_is_said():
    lines = pd.DataFrame({"x": [2, 1, 1, 2], "y": [0.5, 0.25, 1, 3], "by": ["a", "a", "b", "b"]})
    assert line_words(lines, "x", "y", by="by") == "a: 0.25 at 1, 0.5 at 2; b: 1 at 1, 3 at 2"


def test_the_notebook_on_files_like_the_papers(tmp_path):
    """The published tables are filled, and the trials are kept for a second run."""
    log = steps_only(users=40, steps=8, self_steps=6).log
    folder = tmp_path / "gpt4books"
    folder.mkdir()
    columns = {
        "observation": ("self", "item"),
        "recommendation": ("system", "item"),
        "decision": ("system", "decision"),
    }
    for name, (source, column) in columns.items():
        rows = log[log["source"] == source].groupby("user")[column].agg(lambda part: " ".join(map(str, part)))
        (folder / f"{name}.txt").write_text("".join(f"{user} {text}\n" for user, text in rows.items()))
    given = {"data": "gpt4books", "path": str(folder), "out": str(tmp_path / "run"), "hidden": 8, "passes": 1}
    given |= {"backbones": "gru4rec, sasrec", "over": "sasrec", "seeds": 2, "penalties": ""}
    papermill.execute_notebook(
        PROJECT / "notebooks" / "05_reproduction.ipynb", tmp_path / "out.ipynb", given, progress_bar=False
    )
    table = pd.read_csv(tmp_path / "run" / "tables" / "05_reproduction" / "published.csv")
    assert set(table["model"]) == {"GRU4Rec", "SASRec", "CSRec (SASRec)"}
    assert set(table["preset"]) == {"paper", "unconstrained"}
    assert (tmp_path / "run" / "figures" / "05_reproduction" / "published-ahr" / "published-ahr.csv").exists()
    spread = pd.read_csv(tmp_path / "run" / "tables" / "05_reproduction" / "spread.csv", index_col="model")
    assert len(spread) == 2 + 5 and "CSRec (SASRec), crossed" in spread.index and spread.ge(0).all(axis=None)
    kept = list((tmp_path / "run" / "reproduction").rglob("*-cells.parquet"))
    assert len(kept) >= 2 * (2 + 4)

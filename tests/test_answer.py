"""The answer: what effect.json, the screen, the card and Python say, and when they say nothing."""

import json
import subprocess
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import csrec_core
from csrec_core.cli import cli
from csrec_core.data.books import simulate_books
from csrec_core.effect.answer import as_dict
from csrec_core.effect.card import as_card
from csrec_core.effect.estimate import estimate_effect
from csrec_core.errors import InputError
from csrec_core.plots.log import plot_accept_rates, plot_item_shares
from csrec_core.verdict import FAILS, Verdict

KEYS = (
    "effect lower upper unit outcome rates baseline arm target estimand status reasons band tipping benchmark "
    "estimates checks users exposures arms assumptions remedies design pairs log level"
)


@pytest.fixture(scope="module")
def trial():
    """Three arms drawn with even chances, that accept 30, 40 and 20%; an arm's name is no HTML."""
    rng = np.random.default_rng(4)
    arm, count = rng.integers(3, size=3000), 3000
    frame = pd.DataFrame({"who": [f"user {n}" for n in range(count)], "item": 1, "t": 1})
    frame["source"] = np.array(["control", "<b>mail</b>", "call"])[arm]
    return frame.assign(decision=(rng.random(count) < np.array([0.3, 0.4, 0.2])[arm]).astype(int))


EVEN = "arm: '<b>mail</b>', arm_propensity: {control: 0.3333, '<b>mail</b>': 0.3333, call: 0.3333}"


@pytest.fixture
def run(tmp_path, trial):
    trial.to_csv(tmp_path / "trial.csv", index=False)

    def call(*words, log=tmp_path / "trial.csv"):
        return CliRunner().invoke(cli, ["effect", str(log), "--map", "user=who", *map(str, words)])

    return call


def read_strict(path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_a_trial_of_three_arms_is_answered_by_its_rates(run, trial, tmp_path):
    result = run("--design", EVEN, "--fast", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = read_strict(tmp_path / "out" / "effect.json")
    assert list(found) == KEYS.split()
    rate = trial.groupby("source")["decision"].agg(["mean", "size", "sum"])
    away = rate.loc["<b>mail</b>", "mean"] - rate.loc["control", "mean"]
    assert found["effect"] == pytest.approx(away, abs=0.003) and found["lower"] < 0.1 < found["upper"]
    assert found["status"] == "identified" and found["unit"] == "probability" and found["band"] == []
    assert (found["baseline"], found["arm"], found["users"], found["exposures"]) == (
        "control",
        "<b>mail</b>",
        *[int(rate.loc[["control", "<b>mail</b>"], "size"].sum())] * 2,
    )
    for name, row in rate.iterrows():
        assert found["arms"][name] == {"exposures": row["size"], "accepted": row["sum"]}
    (pair,) = found["pairs"]
    assert pair["arm"] == "call" and pair["upper"] < 0
    assert pair["effect"] == pytest.approx(rate.loc["call", "mean"] - rate.loc["control", "mean"], abs=0.003)
    assert f"raises acceptance by {100 * found['effect']:.1f} points [" in result.output
    assert "Identified: <b>mail</b> and control were drawn with known chances." in result.output
    table = pd.read_csv(tmp_path / "out" / "effect.csv")
    assert table.loc[0, "grouping"] == "overall" and table.loc[0, "effect"] == pytest.approx(found["effect"])


def test_the_function_is_the_command(run, trial, tmp_path):
    run("--design", EVEN, "--fast", "--out", tmp_path / "out")
    design = {
        "arm": "<b>mail</b>",
        "arm_propensity": dict.fromkeys(("control", "<b>mail</b>", "call"), 0.3333),
    }
    effect = csrec_core.effect(trial, map={"user": "who"}, **design)
    found = read_strict(tmp_path / "out" / "effect.json")
    assert effect.to_dict() | {"arms": 0, "pairs": 0, "log": 0} == found | {"arms": 0, "pairs": 0, "log": 0}
    assert effect.summary().startswith("<b>mail</b>, against control, raises acceptance by ")
    card = effect._repr_html_()
    assert "<b>" not in card and "&lt;b&gt;mail&lt;/b&gt;" in card and card.count("%") >= 2
    labels = [text.get_text() for text in effect.plot().get_yticklabels()]
    assert labels[0] == "doubly robust"


def test_what_is_not_identified_has_no_number(tmp_path):
    rng = np.random.default_rng(0)
    rows = {"user": np.repeat(np.arange(200), 4), "t": np.tile([1, 2, 3, 4], 200)}
    frame = pd.DataFrame(rows).assign(source=np.tile(["self", "self", "system", "system"], 200))
    frame["item"] = rng.integers(30, size=800) + 30 * (frame["source"] == "system")  # no item in both arms
    frame["decision"] = rng.integers(2, size=800)
    frame.to_parquet(tmp_path / "log.parquet")
    result = CliRunner().invoke(
        cli, ["effect", str(tmp_path / "log.parquet"), "--fast", "--out", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert result.output.startswith("What recommending does to acceptance cannot be told from this log.")
    found = read_strict(tmp_path / "effect.json")
    assert found["status"] == "not identified" and "never exposes" in found["reasons"][0]
    assert [found[name] for name in ("effect", "lower", "upper", "rates", "tipping")] == [None] * 5
    assert {one["name"] for one in found["estimates"] if one["effect"] is not None} == {"observed"}
    assert pd.read_csv(tmp_path / "effect.csv").effect.isna().all() and found["remedies"]


def test_a_check_that_fails_lowers_the_status(run, tmp_path, monkeypatch):
    fake = ModuleType("csrec_core.effect.checks")
    verdict = Verdict("placebo", FAILS, "zero was expected", 0.2, 0.1, 0.3, 0.0, "serious")
    fake.check_effect = lambda effect, dataset, seed: [verdict]
    monkeypatch.setitem(sys.modules, "csrec_core.effect.checks", fake)
    result = run("--design", EVEN, "--out", tmp_path / "out")
    found = read_strict(tmp_path / "out" / "effect.json")
    assert found["status"] == "bounded" and "placebo" in found["reasons"][0]
    asked = {
        "name": "placebo",
        "verdict": "fails",
        "value": 0.2,
        "lower": 0.1,
        "upper": 0.3,
        "threshold": 0.0,
    }
    assert asked.items() <= found["checks"][-1].items()
    assert "fails: placebo: zero was expected" in result.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--design", "confounder: [age]"], "unknown declaration 'confounder'.*did you mean 'confounders'"),
        (["--arm", "male"], "unknown arm of the design 'male'"),
        (["--target", "uniformly"], "unknown target of the design.*did you mean 'uniform'"),
        (["--out", "/proc/nowhere"], "/proc/nowhere: cannot be written"),
    ],
)
def test_bad_input_is_one_message(run, words, says):
    result = run("--fast", *words)
    assert result.exit_code == 2 and len(result.output) < 420
    with pytest.raises(InputError, match=says):
        raise InputError(result.output)


def test_a_folder_that_cannot_be_written_to_stops_before_the_log_is_read(run):
    result = run("--out", "/proc/nowhere", log="no-such-log.csv")
    assert result.exit_code == 2 and "cannot be written" in result.output


def test_a_refused_log_leaves_no_folder(run, tmp_path):
    assert run("--out", str(tmp_path / "out"), log="no-such-log.csv").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_public_names_are_there_and_light():
    code = "import csrec_core, sys; print(sorted({'pandas', 'torch', 'sklearn', 'dowhy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    assert callable(csrec_core.effect) and callable(csrec_core.read) and callable(csrec_core.check)
    assert set(csrec_core.__all__) <= set(dir(csrec_core))
    with pytest.raises(AttributeError, match="no attribute 'efect'"):
        csrec_core.efect  # noqa: B018


def test_users_and_segments_are_named_by_a_dataset_too():
    books = simulate_books(users=60, items=30, steps=6, seed=2)
    found = as_dict(estimate_effect(books, splits=1))
    assert found["exposures"] == 720 and found["users"] == 60 and found["arm"] == "system"
    assert (
        found["design"]["arm"] == "system"
        and "status" in found
        and estimate_effect(books, splits=1)._repr_html_()
    )


@pytest.fixture(scope="module")
def spend():
    """A trial whose arm adds 3 to what is spent, which also follows a column of the log."""
    rng = np.random.default_rng(0)
    offer, x = rng.random(4000) < 0.5, rng.normal(size=4000)
    amount = np.maximum(0, rng.gamma(2, 10, 4000) + 5 * x + 3 * offer - 8)
    frame = pd.DataFrame({"customer": np.arange(4000), "variant": np.where(offer, "offer", "control")})
    return frame.assign(feature_x=x, spend=amount)


def test_what_is_spent_is_a_mean_on_its_own_scale(spend, tmp_path):
    spend.to_csv(tmp_path / "spend.csv", index=False)
    out, words = tmp_path / "out", ["--design", "arm_propensity: 0.5", "--out", str(tmp_path / "out")]
    columns = ["--map", "user=customer,item=*,outcome=spend,source=variant"]
    result = CliRunner().invoke(cli, ["effect", str(tmp_path / "spend.csv"), *columns, *words])
    assert result.exit_code == 0, result.output
    found = read_strict(out / "effect.json")
    assert (found["unit"], found["status"], found["baseline"]) == ("spend", "identified", "control")
    # Least squares on the arm and the column, with robust errors: an independent estimate of the same mean.
    design = np.column_stack([np.ones(4000), spend["variant"] == "offer", spend["feature_x"]])
    inverse = np.linalg.inv(design.T @ design)
    slope = inverse @ design.T @ spend["spend"]
    left = spend["spend"].to_numpy() - design @ slope
    error = np.sqrt((inverse @ (design * left[:, None] ** 2).T @ design @ inverse)[1, 1])
    assert found["effect"] == pytest.approx(slope[1], abs=0.15 * error)
    assert (found["upper"] - found["lower"]) / (2 * 1.96) == pytest.approx(error, rel=0.1)
    assert found["arms"]["offer"]["accepted"] == pytest.approx(
        spend.loc[spend["variant"] == "offer", "spend"].sum()
    )
    assert result.output.startswith("offer, against control, raises spend by ")
    assert "accepted" not in result.output and "points" not in result.output
    again = CliRunner().invoke(
        cli, ["effect", str(tmp_path / "spend.csv"), "--as", str(out / "log.yaml"), *words]
    )
    assert again.exit_code == 0 and read_strict(out / "effect.json") == found


def test_the_effect_at_a_rank_of_the_list(tmp_path):
    """The arm adds .2 at the first rank alone, and shows its items further up: by itself a rank is no effect."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"user": np.repeat(np.arange(600), 20)})
    rows["source"] = np.where(rng.random(len(rows)) < 0.5, "model", "control")
    weights = {"model": [0.5, 0.3, 0.2], "control": [0.2, 0.3, 0.5]}
    drawn = {arm: rng.choice([1, 2, 3], len(rows), p=chance) for arm, chance in weights.items()}
    rows["position"] = np.where(rows["source"] == "model", drawn["model"], drawn["control"])
    rows["item"], rows["timestamp"] = rng.integers(8, size=len(rows)), np.tile(np.arange(20), 600)
    gain = 0.2 * ((rows["position"] == 1) & (rows["source"] == "model"))
    rows["decision"] = (rng.random(len(rows)) < 0.6 - 0.15 * rows["position"] + gain).astype(int)
    found = csrec_core.effect(rows, confounders=["position"])
    table = found.by("rank").set_index("group")
    plain = rows.pivot_table("decision", "position", "source")
    assert list(table.index) == ["1", "2", "3"] and "By rank in the list: 1: " in found.summary()
    for rank, row in table.iterrows():
        assert row["lower"] < (0.2 if rank == "1" else 0.0) < row["upper"]
        one = plain.loc[int(rank)]
        assert row["effect"] == pytest.approx(one["model"] - one["control"], abs=0.02)
    # Averaged over the ranks that the arm shows; the plain difference takes its better ranks for an effect.
    naive = rows.groupby("source")["decision"].mean().diff().iloc[1]
    assert found.mean["lower"] < 0.1 < found.mean["upper"] < naive


def test_an_arm_named_offer_is_no_baseline(spend):
    """`off` is a baseline, `offer` is not, whichever is more frequent."""
    columns = {"user": "customer", "outcome": "spend", "source": "variant"}
    assert csrec_core.effect(spend.assign(item=1), map=columns).design.baseline == "control"


def test_a_trial_of_which_too_little_was_accepted_has_a_card_without_a_number():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"user": np.arange(300), "item": 1, "source": rng.choice(["control", "mail"], 300)})
    frame["decision"] = (np.arange(300) % 100 == 0).astype(int)
    found = csrec_core.effect(frame, arm_propensity=0.5)
    assert found.identification.status == "identified" and found.to_dict()["rates"] is None
    assert "cannot be told: too little was accepted" in found.summary()
    assert "amount" not in (card := as_card(found.to_dict())) and "cannot be told" in card


def test_other_arms_than_the_papers_have_lines_of_their_own(tmp_path):
    steps = pd.DataFrame({"source": ["bts", "bts", "random"], "step": [1, 2, 1], "mean": [0.1, 0.2, 0.1]})
    steps[["lower", "upper"]], steps["rows"] = 0.0, 5
    drawn = plot_accept_rates(steps.astype({"source": "category"}))
    assert [text.get_text() for text in drawn.texts] == ["bts", "random"]
    items = pd.DataFrame({"source": ["bts", "random", "old"], "share": 1.0}).astype({"source": "category"})
    assert len(plot_item_shares(items).lines) >= 3

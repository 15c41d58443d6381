"""Other libraries' estimates of the same effects, from the same features of the same rows.

    PYTHONPATH=. OTHER/bin/python benchmarks/effect_peers.py [--seeds 10] [--minutes 15] [--only NAME] [--out FILE.csv]

OTHER is an environment with econml, doubleml and dowhy, beside what `csrec_core.effect` needs. The worlds are
those of `worlds.py` whose confounders are columns, so that every library can be right; all of them get the
matrix that ours reads (`describe` and `ItemCounts.measure`), and users as clusters where they take clusters. The
truth is the mean effect at the arm's exposures. A library's nuisances are logistic regressions of standardised
columns, or scikit-learn's boosted trees with early stopping; or EconML's own choice, by cross-validation, of linear
models or forests, which is its default. All that split rows into folds split them as often as ours
does, and the median counts. One thread: set OMP_NUM_THREADS=1.

Printed for each kind of world: bias, RMSE, its ratio to the least of all others' with a 95% interval (worlds
resampled, the best chosen again in each), coverage of 95% intervals, CPU seconds of an estimate.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from worlds import WORLDS, simulate

from csrec_core.data.log import Dataset
from csrec_core.effect.design import Design, find_design
from csrec_core.effect.engine import FOLDS, Engine, look_over
from csrec_core.effect.estimate import SPLITS, estimate_effect
from csrec_core.effect.folds import fold_of
from csrec_core.effect.item_counts import LIFT, ItemCounts
from csrec_core.effect.rows import lay_rows

KINDS = [name for name in WORLDS if name.startswith("published")]
OURS = "csrec"
DRAWS = 2000
Found = tuple[float, float, float]  # effect, lower, upper
NAN = float("nan")


def logistic():
    """Return a logistic regression of standardised columns."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def boosted():
    """Return boosted trees that stop by themselves."""
    return HistGradientBoostingClassifier(early_stopping=True, random_state=0)


def chosen() -> str:
    """Return EconML's name for its own choice."""
    return "auto"


def lay_matrix(dataset: Dataset, design: Design) -> tuple[pd.DataFrame, np.ndarray]:
    """Return `user`, `arm`, `decision` of both arms' rows, and the features that our regressions read."""
    rows = lay_rows(dataset, design)
    known = look_over(rows)
    fold = fold_of(rows["user"].to_numpy(), FOLDS, 0)
    counts = ItemCounts.count(rows, fold, FOLDS)
    engine = Engine(design, known, counts, 0, ("feature_affinity",))
    table = known.describe(rows)
    told = counts.measure(rows["item"].to_numpy(), fold)
    if known.clock.phased:
        told[LIFT] = counts.lift(table, told["fame"])
    names = [name for name in engine.columns("m0", "none") if name in table.columns]
    return rows[["user", "arm", "decision"]], np.column_stack([table[names], told]).astype(float)


def by_econml(rows: pd.DataFrame, matrix: np.ndarray, *, kind: str, learner: Callable) -> Found:
    """Estimate by EconML, effects linear in the features; its intervals take rows as independent."""
    from econml.dml import LinearDML
    from econml.dr import LinearDRLearner

    options = {"cv": FOLDS, "mc_iters": SPLITS, "mc_agg": "median", "random_state": 0}
    options["discrete_outcome"] = True
    if kind == "dml":
        model = LinearDML(model_y=learner(), model_t=learner(), discrete_treatment=True, **options)
    else:
        model = LinearDRLearner(model_propensity=learner(), model_regression=learner(), **options)
    design, arm = StandardScaler().fit_transform(matrix), rows["arm"].to_numpy()
    model.fit(rows["decision"].to_numpy(), arm, X=design, groups=rows["user"].to_numpy())
    found = model.ate_inference(design[arm == 1])
    lower, upper = found.conf_int_mean()
    return tuple(float(np.ravel(one)[0]) for one in (found.mean_point, lower, upper))


def by_doubleml(rows: pd.DataFrame, matrix: np.ndarray, *, learner: Callable) -> Found:
    """Estimate by DoubleML's interactive regression model, folds and variance by users."""
    from doubleml import DoubleMLData, DoubleMLIRM

    names = [f"x{place}" for place in range(matrix.shape[1])]
    frame = pd.DataFrame(matrix, columns=names).assign(**{name: rows[name].to_numpy() for name in rows})
    data = DoubleMLData(frame, y_col="decision", d_cols="arm", x_cols=names, cluster_cols="user")
    np.random.seed(0)  # noqa: NPY002 - the library draws its folds from the global generator
    model = DoubleMLIRM(data, ml_g=learner(), ml_m=learner(), n_folds=FOLDS, n_rep=SPLITS, score="ATTE").fit()
    return float(model.coef[0]), *map(float, model.confint().iloc[0])


def by_dowhy(rows: pd.DataFrame, matrix: np.ndarray, *, method: str) -> Found:
    """Estimate by dowhy, which gives no interval in this time."""
    from dowhy import CausalModel

    names = [f"x{place}" for place in range(matrix.shape[1])]
    frame = pd.DataFrame(matrix, columns=names).assign(
        arm=rows["arm"].to_numpy() == 1, decision=rows["decision"].to_numpy()
    )
    model = CausalModel(frame, treatment="arm", outcome="decision", common_causes=names)
    estimand = model.identify_effect(method_name="maximal-adjustment", proceed_when_unidentifiable=True)
    options = {"method_name": f"backdoor.{method}", "target_units": "att", "test_significance": False}
    return float(model.estimate_effect(estimand, **options).value), NAN, NAN


PEERS: dict[str, Callable[..., Found]] = {
    "EconML LinearDML, logistic": partial(by_econml, kind="dml", learner=logistic),
    "EconML LinearDML, boosted": partial(by_econml, kind="dml", learner=boosted),
    "EconML LinearDML, chosen": partial(by_econml, kind="dml", learner=chosen),
    "EconML LinearDRLearner, logistic": partial(by_econml, kind="dr", learner=logistic),
    "EconML LinearDRLearner, boosted": partial(by_econml, kind="dr", learner=boosted),
    "EconML LinearDRLearner, chosen": partial(by_econml, kind="dr", learner=chosen),
    "DoubleML IRM, logistic": partial(by_doubleml, learner=logistic),
    "DoubleML IRM, boosted": partial(by_doubleml, learner=boosted),
    "dowhy linear regression": partial(by_dowhy, method="linear_regression"),
    "dowhy propensity weighting": partial(by_dowhy, method="propensity_score_weighting"),
}


def estimate_all(kind: str, seed: int, only: str) -> pd.DataFrame:
    """Return a row for each estimator: `kind`, `seed`, `name`, `effect`, `lower`, `upper`, `truth`, `seconds`."""
    world, declared = WORLDS[kind]
    dataset, truth = simulate(world, seed)
    rows, matrix = lay_matrix(dataset, find_design(dataset, **declared))

    def ours() -> Found:
        return tuple(estimate_effect(dataset, **declared).mean[["effect", "lower", "upper"]])

    found = []
    for name, method in {
        OURS: ours,
        **{name: partial(peer, rows, matrix) for name, peer in PEERS.items() if only in name},
    }.items():
        started = time.process_time()
        effect, lower, upper = method()
        found.append((kind, seed, name, effect, lower, upper, time.process_time() - started))
    names = ["kind", "seed", "name", "effect", "lower", "upper", "seconds"]
    return pd.DataFrame(found, columns=names).assign(truth=(truth["p1"] - truth["p0"]).mean())


def summarise(found: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each estimator on worlds of one kind."""
    found = found.assign(error=found["effect"] - found["truth"])
    names = list(found["name"].unique())
    errors = found.pivot_table(index="seed", columns="name", values="error")[names]
    draws = np.random.default_rng(0).integers(len(errors), size=(DRAWS, len(errors)))
    squares = errors.to_numpy() ** 2

    def ratios(mean: np.ndarray) -> np.ndarray:
        # Each against the best of the others.
        masked = np.where(np.eye(len(mean), dtype=bool), np.inf, mean)
        return np.sqrt(mean / masked.min(axis=1))

    resampled = np.array([ratios(squares[draw].mean(axis=0)) for draw in draws])
    within = (found["lower"] <= found["truth"]) & (found["truth"] <= found["upper"])
    covered = within.where(found["lower"].notna()).astype(float).groupby(found["name"]).mean()
    table = pd.DataFrame({"bias": errors.mean(), "RMSE": np.sqrt((errors**2).mean())})
    table["ratio"] = ratios(squares.mean(axis=0))
    table["lower"], table["upper"] = np.quantile(resampled, [0.025, 0.975], axis=0)
    return table.assign(coverage=covered, seconds=found.groupby("name")["seconds"].mean())


def print_table(kind: str, found: pd.DataFrame) -> None:
    """Print the summary in Markdown."""
    table = summarise(found)
    print(f"\n{kind}: {found['seed'].nunique()} worlds, effect {found['truth'].mean():.4f}\n")
    print("| estimator | bias | RMSE | to the best other | coverage | CPU s |\n|---|---|---|---|---|---|")
    for name, row in table.iterrows():
        ratio = f"{row['ratio']:.2f} [{row['lower']:.2f}, {row['upper']:.2f}]"
        covered = "–" if np.isnan(row["coverage"]) else f"{row['coverage']:.2f}"
        cells = (name, f"{row['bias']:+.4f}", f"{row['RMSE']:.4f}", ratio, covered, f"{row['seconds']:.1f}")
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Estimate in world after world until the time is up, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="worlds of each kind")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--minutes", type=float, default=15.0, help="no world is begun after it")
    parser.add_argument("--only", default="", help="the others whose names have this in them")
    parser.add_argument("--out", type=Path, help="every estimate, as CSV")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    started, found = time.perf_counter(), []
    for seed in range(given.first, given.first + given.seeds):
        for kind in KINDS:
            if time.perf_counter() - started < 60 * given.minutes:
                found.append(estimate_all(kind, seed, given.only))
                if given.out:
                    pd.concat(found).to_csv(given.out, index=False)
    found = pd.concat(found, ignore_index=True)
    for kind in found["kind"].unique():
        print_table(kind, found[found["kind"] == kind])


if __name__ == "__main__":
    main()

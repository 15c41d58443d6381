"""Other libraries' estimates of the same effect from the same features: python benchmarks/effect_peers.py

One simulated world with published tastes; the mean effect at the system's exposures by our estimators and by
dowhy. `--write FILE` leaves the rows for a library that needs an environment of its own; there,

    OTHER/bin/python benchmarks/effect_peers.py --read FILE

estimates by EconML's double machine learning with the same logistic and linear models and prints rows of the
same table; `csrec_core` is not needed there. The libraries' own intervals take rows as independent.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

NOT_USED = ("fold", "seen", "decision", "system", "user", "truth")  # of the rows' columns, as features
FOLDS = 3


def by_ours(world) -> dict[str, tuple[float, float, float]]:
    """Return (mean, low, high) by each of our estimators."""
    from csrec_core.effect.estimators import ESTIMATORS, estimate_effect

    means = {name: estimate_effect(world, estimator=name, folds=FOLDS).mean for name in ESTIMATORS}
    return {f"csrec {name}": tuple(mean[["effect", "lower", "upper"]]) for name, mean in means.items()}


def by_dowhy(rows: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Return the effect on the treated by dowhy; it gives no interval at this size without a bootstrap."""
    from dowhy import CausalModel

    features = [name for name in rows.columns if name not in NOT_USED]
    renamed = rows.rename(columns={name: f"x{place}" for place, name in enumerate(features)})
    renamed["system"] = renamed["system"].astype(bool)
    model = CausalModel(
        renamed,
        treatment="system",
        outcome="decision",
        common_causes=[f"x{place}" for place in range(len(features))],
    )
    estimand = model.identify_effect(proceed_when_unidentifiable=True)
    found = {}
    for method in ("linear_regression", "propensity_score_weighting", "propensity_score_stratification"):
        value = model.estimate_effect(
            estimand, method_name=f"backdoor.{method}", target_units="att", test_significance=False
        ).value
        found[f"dowhy {method}"] = (float(value), np.nan, np.nan)
    return found


def by_econml(rows: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Return the effect at the system's exposures by EconML's learners, with its own intervals."""
    from econml.dml import LinearDML
    from econml.dr import LinearDRLearner
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features = rows.drop(columns=list(NOT_USED))
    design = StandardScaler().fit_transform(features)
    system, decision = rows["system"].to_numpy().astype(int), rows["decision"].to_numpy(dtype=float)
    options = {"discrete_outcome": True, "cv": FOLDS, "random_state": 0}
    learners = {
        "econml LinearDRLearner": LinearDRLearner(
            model_propensity=LogisticRegression(max_iter=500),
            model_regression=LogisticRegression(max_iter=500),
            **options,
        ),
        "econml LinearDML": LinearDML(
            model_y=LogisticRegression(max_iter=500),
            model_t=LogisticRegression(max_iter=500),
            discrete_treatment=True,
            **options,
        ),
    }
    found = {}
    for name, learner in learners.items():
        learner.fit(decision, system, X=design, groups=rows["user"].to_numpy())
        at = learner.ate_inference(design[system == 1])
        low, high = at.conf_int_mean()
        found[name] = tuple(float(np.ravel(part)[0]) for part in (at.mean_point, low, high))
    return found


def main() -> None:
    """Print a table: estimate, mean, interval, error against the truth, CPU seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="leave the rows as Parquet")
    parser.add_argument("--read", type=Path, help="estimate from such rows by EconML")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.read:
        rows = pd.read_parquet(arguments.read)
        methods = [lambda: by_econml(rows)]
    else:
        from csrec_core.data.books import simulate_books
        from csrec_core.effect.features import exposure_features

        world = simulate_books(users=arguments.users, seed=arguments.seed, publish="rows")
        rows = exposure_features(world, folds=FOLDS).assign(
            decision=world.log["decision"].astype(float),
            system=(world.log["source"] == "system").astype(int),
            user=world.log["user"],
            truth=world.truth["p_system"] - world.truth["p_self"],
        )
        if arguments.write:
            rows.to_parquet(arguments.write)
        methods = [lambda: by_ours(world), lambda: by_dowhy(rows)]
    truth = rows.loc[rows["system"] == 1, "truth"].mean()
    for method in methods:
        started = time.process_time()
        found = method()
        seconds = (time.process_time() - started) / len(found)
        for name, (mean, low, high) in found.items():
            line = {"estimate": name, "mean": mean, "low": low, "high": high, "error": mean - truth}
            rounded = {key: round(value, 4) if key != "estimate" else value for key, value in line.items()}
            print(json.dumps(rounded | {"truth": round(truth, 4), "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()

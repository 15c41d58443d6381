"""Skip prediction on simulated sessions: python benchmarks/fewshot.py FOLDER [--sessions 20000]

Few-Shot with either norm, and without the acoustic features, beside lookups of one thing and beside the true
probability given all earlier decisions, which no predictor of a whole half knows. The last fifth of the
sessions is the test; intervals are over sessions.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.schema import CONTEXTS
from csrec_core.data.mssd.simulate import ELSEWHERE, Listeners, read_truth, simulate_mssd
from csrec_core.data.mssd.slots import LOG_FEATURES, Sessions, read_sessions
from csrec_core.evaluation.skips import challenge_scores, predict_skip_controls
from csrec_core.models.fewshot import predict_skips, train_fewshot
from csrec_core.models.train import Training


def true_probability(folder: Path, sessions: Sessions) -> np.ndarray:
    """Return P(accepted) of the slots, given their context and all that was decided before; else NaN."""
    truth = read_truth(folder, sessions.users)
    names = [f"context_type={name}" for name in CONTEXTS]
    context = sessions.log[..., [LOG_FEATURES.index(name) for name in names]].argmax(axis=-1)
    shift = np.array([ELSEWHERE.get(name, 0.0) for name in CONTEXTS])[context]
    own = expit(logit(truth["p_self"]) + shift)
    return np.where(context == CONTEXTS.index("personalized_playlist"), truth["p_system"], own)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    ingest(*simulate_mssd(args.folder / "csv", args.sessions, Listeners(seed=1)), args.folder)
    sessions = read_sessions(args.folder)
    order = np.random.default_rng(0).permutation(len(sessions.users))
    cut = len(order) * 4 // 5
    train, test = sessions.take(order[:cut]), sessions.take(np.sort(order[cut:]))
    training = Training(epochs=args.epochs, patience=3, batch=64, threads=1)
    predictions = predict_skip_controls(train, test)
    blank = np.zeros_like(sessions.features)
    for name, norm, features in (
        ("few-shot", "instance", sessions.features),
        ("few-shot, causal norm", "causal", sessions.features),
        ("few-shot, causal norm, no features", "causal", blank),
    ):
        known = replace(train, features=features)
        model, history = train_fewshot(known, training=training, channels=args.channels, norm=norm)
        print(f"{name}: {len(history)} epochs, {history['seconds'].mean():.1f} CPU s each")
        predictions[name] = predict_skips(model, test)
    predictions["truth"] = np.where(test.asked, true_probability(args.folder, test), np.nan)
    table = challenge_scores(test, predictions)
    print(table.pivot_table(index="model", columns="metric", values="mean").round(4).to_string())
    print(table[table["metric"] == "MAA"].round(4).to_string(index=False))


if __name__ == "__main__":
    main()

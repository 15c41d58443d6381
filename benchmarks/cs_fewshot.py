"""CS-Few-Shot on simulated sessions: python benchmarks/cs_fewshot.py FOLDER [--sessions 20000]

Few-Shot beside backbones that know a track by its number alone, CSRec over one of them, CS-Few-Shot, lookups
of one thing and the oracle, on what the system played in the second halves of a fifth of the sessions. Gains
and effects have intervals over sessions. What is done is kept in FOLDER, and a rerun reads it.
"""

import argparse
from pathlib import Path

import pandas as pd

from csrec_core.data.mssd.simulate import read_truth
from csrec_core.data.mssd.slots import read_sessions
from csrec_core.models.fewshot import NORMS
from csrec_core.models.train import Training
from csrec_core.reproduction.mssd import SYSTEMS, SessionTrials
from csrec_core.reproduction.mssd_tables import run_systems, session_gain, session_references, source_effect
from csrec_core.reproduction.presets import SessionEffort
from csrec_core.reproduction.sessions import simulate_sessions
from csrec_core.reproduction.tables import summarise

SHOWN = ["AUC", "Brier", "ECE", "AHR@0.2", "AHR@0.5", "MAA", "HR@10", "NDCG@10"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--tracks", type=int, default=1000)
    parser.add_argument("--appeal", type=float, default=1.2, help="how much the features matter, in logits")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument(
        "--norm", choices=NORMS, default="causal", help="of Few-Shot; instance is the published one"
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--penalty", type=float, default=1.0)
    parser.add_argument(
        "--systems", default="GRU4Rec,SASRec,CSRec,Few-Shot,CS-Few-Shot", help=", ".join(SYSTEMS)
    )
    args = parser.parse_args()
    folder = simulate_sessions(args.folder, args.sessions, seed=1, appeal=args.appeal, tracks=args.tracks)
    systems = args.systems.split(",")
    effort = SessionEffort(
        training=Training(epochs=args.epochs, patience=4, batch=64, rate=args.rate, threads=1),
        hyper={"hidden": args.channels, "dropout": 0.2},
        channels=args.channels,
        norm=args.norm,
        penalty=args.penalty,
    )
    trials = SessionTrials(read_sessions(folder), effort, args.folder)
    scores = run_systems(trials, seeds=[0], systems=systems)
    truth = read_truth(folder, trials.test.users)
    references = session_references(trials, truth=truth["p_system"])
    summary = summarise(pd.concat([scores, references], ignore_index=True))
    table = summary.pivot_table(index="model", columns="metric", values="mean", sort=False)[SHOWN]
    print(f"{len(trials.cells):,} exposures of {trials.cells['user'].nunique():,} sessions")
    print(table.round(4).to_string(na_rep=""))
    print(f"CPU seconds: { ({name: round(trials.trial(name, seed=0).seconds) for name in systems}) }")
    cells = {name: trials.trial(name, seed=0).cells for name in ("Few-Shot", "CS-Few-Shot")}
    own, few = cells["CS-Few-Shot"], cells["Few-Shot"]
    for name, column in (("Few-Shot", "f_marginal"), ("Few-Shot, level of playlists", "f_level")):
        print(f"CS-Few-Shot over {name}")
        print(session_gain(own, own["f_marginal"], few[column]).round(4).to_string(index=False))
    for estimand in ("filtered", "marginal"):
        mean, low, high = source_effect(own, estimand=estimand)
        print(f"f - f~, {estimand}: {mean:.4f} [{low:.4f}, {high:.4f}]")
    print(f"the simulation's effect: {(truth['p_system'] - truth['p_self'])[trials.exposed].mean():.4f}")


if __name__ == "__main__":
    main()

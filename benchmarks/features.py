"""What item features add on simulated sessions: python benchmarks/features.py FOLDER [--sessions 4000]

SASRec and CSRec over it with the acoustic features of the tracks, with the same features shuffled over the
tracks, without any, and with features but the weights of cold tracks left as they were drawn. A tenth of the
tracks is new: no model learns from a row of theirs. Printed are, with standard errors over users,

- HR@10 and NDCG@10 of the last self-chosen track, among all that were new to the user;
- the AUC of f at exposures by the system (X_intv) of users it did not learn from, of known and of new tracks;
- the AUC of a new track that a user chose, by next-item score, against the other new ones and against all;

and then each as a ratio to the model without features. The truth knows preferences and trust.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from csrec_core.data.loaders import load_mssd
from csrec_core.data.log import Dataset, validate_log
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.metrics import hit_rate, ndcg
from csrec_core.models import cold
from csrec_core.models.csrec import Objective, predict_csrec, train_csrec
from csrec_core.models.next_item import rank_next_item
from csrec_core.models.preference import read_out, train_preference
from csrec_core.models.sequences import ACCEPT, Sequences, to_sequences
from csrec_core.models.train import Training

LENGTH, NEW, HYPER = 20, 0.1, {"hidden": 32, "layers": 1, "dropout": 0.2}


def variants(items: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """Return the item tables of the models."""
    known = items.drop(columns=["item", "title"])
    shuffled = known.iloc[np.random.default_rng(seed).permutation(len(items))].reset_index(drop=True)
    return {
        "features": items,
        "features, cold as drawn": items,
        "features shuffled": pd.concat([items[["item"]], shuffled], axis=1),
        "no features": items[["item"]],
    }


def chosen_auc(model, sequences: Sequences, new: torch.Tensor) -> pd.DataFrame:
    """Return, for each new track that a user chose and accepted, its AUC among the `new` and among all."""
    items, decisions = sequences.self_items, sequences.self_decisions
    wanted = torch.isin(items, new) & (decisions == ACCEPT)
    with torch.no_grad():
        scores = model.backbone.score(model.backbone.encode_at(items, wanted, decisions))
    own = scores.gather(1, items[wanted][:, None] - 1)
    found = pd.DataFrame({"user": wanted.nonzero()[:, 0]})
    for name, others in (("new", scores[:, new - 1]), ("all", scores)):
        below = (others < own).sum(dim=1) + ((others == own).sum(dim=1) - 1) / 2
        found[name] = below / (others.shape[1] - 1)
    return found


def with_error(values: pd.Series, users: np.ndarray) -> tuple[float, float]:
    """Return the mean, and its standard error over users."""
    apart = (values - values.mean()).groupby(users).sum()
    return values.mean(), np.sqrt((apart**2).sum()) / len(values)


def auc_with_error(cells: pd.DataFrame, draws: int = 100) -> tuple[float, float]:
    """Return the AUC of `f`, and its standard error by resampling users, both sides of a comparison alike."""
    rng, user = np.random.default_rng(0), pd.factorize(cells["user"])[0]
    weights = [rng.poisson(1, user.max() + 1)[user] for _ in range(draws)]
    resampled = [roc_auc_score(cells["decision"], cells["f"], sample_weight=weight) for weight in weights]
    return roc_auc_score(cells["decision"], cells["f"]), np.std(resampled)


def measure(dataset: Dataset, items: pd.DataFrame, new: np.ndarray, training: Training) -> tuple:
    """Train f~ and f without the new tracks; return each measure and its error, and those of the truth."""
    log = dataset.log[~dataset.log["item"].isin(new)]
    everything = to_sequences(replace(dataset, items=items), length=LENGTH, horizon=LENGTH)
    known = to_sequences(replace(dataset, log=validate_log(log), items=items), length=LENGTH, horizon=LENGTH)
    f_tilde, _ = train_preference(known, training=training, **HYPER)
    ranks = rank_next_item(f_tilde.backbone, known)
    found = {
        "HR@10": with_error(pd.Series(hit_rate(ranks["rank"], 10)), ranks["user"].to_numpy()),
        "NDCG@10": with_error(pd.Series(ndcg(ranks["rank"], 10)), ranks["user"].to_numpy()),
    }
    half = len(known.users) // 2
    options = {"training": training, "start": f_tilde, **HYPER}
    f, _ = train_csrec(known, read_out(f_tilde, known), torch.arange(half), Objective(penalty=0.0), **options)
    tested = torch.from_numpy(np.flatnonzero(np.isin(everything.users, known.users[half:])))
    filtered, _ = predict_csrec(f, everything, tested)
    rows = everything.system_rows[tested]
    cells = dataset.log.iloc[rows[rows >= 0]].assign(f=filtered.numpy()[rows >= 0])
    found |= exposed_aucs(cells, new)
    number = torch.from_numpy(np.searchsorted(everything.catalogue, new) + 1)
    chosen = chosen_auc(f_tilde, everything, number)
    for among in ("new", "all"):
        found[f"AUC of choice, {among}"] = with_error(chosen[among], chosen["user"].to_numpy())
    truth = dataset.truth["p_system"].to_numpy()[rows[rows >= 0]]
    return found, exposed_aucs(cells.assign(f=truth), new)


def exposed_aucs(cells: pd.DataFrame, new: np.ndarray) -> dict:
    """Return the AUC of `f` and its error, of known and of new tracks."""
    is_new = cells["item"].isin(new)
    return {"AUC of f": auc_with_error(cells[~is_new]), "AUC of f, new": auc_with_error(cells[is_new])}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sessions", type=int, default=4000)
    parser.add_argument("--tracks", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    world = Listeners(seed=args.seed, tracks=args.tracks)
    ingest(*simulate_mssd(args.folder / "csv", args.sessions, world), args.folder)
    dataset = load_mssd(args.folder)
    items = dataset.items.reset_index(drop=True)
    new = np.sort(np.random.default_rng(args.seed).permutation(items["item"])[: int(NEW * len(items))])
    training = Training(epochs=args.epochs, patience=3, batch=64, seed=args.seed, threads=1)
    found, enough = {}, cold.ENOUGH_ROWS
    for name, table in variants(items, args.seed).items():
        started = time.process_time()
        cold.ENOUGH_ROWS = 0 if name.endswith("as drawn") else enough
        found[name], found["truth"] = measure(dataset, table, new, training)
        print(f"{name}: {time.process_time() - started:.0f} CPU s", flush=True)
    table = pd.DataFrame(found).T.reindex([*(name for name in found if name != "truth"), "truth"])
    print(table.map(lambda pair: f"{pair[0]:.4f} ± {pair[1]:.4f}", na_action="ignore").to_string(na_rep=""))
    means = table.map(lambda pair: pair[0], na_action="ignore").astype(float)
    print("ratio to no features")
    print((means / means.loc["no features"]).round(3).to_string(na_rep=""))


if __name__ == "__main__":
    main()

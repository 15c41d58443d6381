"""RecTools' sequential models on a public benchmark, as a peer of the models here.

    OTHER/bin/python benchmarks/rectools_peer.py DATA --model sasrec --loss softmax --seed 0

The interpreter is that of an environment with `rectools[torch]`; `csrec_core` is not needed there. The last
line of the output is the result as JSON, progress goes to stderr. Set OMP_NUM_THREADS=1, MKL_NUM_THREADS=1.

A line of DATA is a user and their items in order. Leave one out: the last item is the test target, the one
before it the validation target, and the model is trained on the rest. Ranking is over the whole catalogue
without what the user has. After every epoch (or `--every` few) the model is tried by validation NDCG@10, and
the best weights are tried once on the test items, with the validation item in the history. Seconds are CPU
seconds; those of an epoch leave out evaluation and the library's set-up between epochs.

The library is used as it is, with its own defaults where no option says otherwise: one negative for BCE,
drawn from the whole catalogue; 15% masked for BERT4Rec. By itself it would know only the items of the users'
training windows: on LastFM 3,606 of 3,646 for SASRec (3,603 for BERT4Rec), so that 13 validation and 17 test
targets (13 and 18) could not be ranked. The other items are therefore given as sessions of weight zero, of
users to whom nothing is recommended: they enter the catalogue, and no loss is taken at them.
"""

import argparse
import json
import logging
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from one_process import peak_mib
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, SASRecModel
from rectools.models.base import ModelBase

CUTOFFS = (5, 10, 20)
MODELS = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel}

Sessions = dict[int, list[int]]


class EpochClock(Callback):
    """Notes the CPU seconds of every training epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.started = time.process_time()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.seconds.append(time.process_time() - self.started)


def quiet_trainer() -> Trainer:
    """Return the library's default trainer with a clock."""
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EpochClock()],
    )


def read_sessions(path: Path) -> Sessions:
    """Return the items of every user, in order."""
    rows = [[int(field) for field in line.split()] for line in path.read_text().splitlines() if line.strip()]
    return {user: items for user, *items in rows}


def unseen_sessions(sessions: Sessions, length: int) -> Sessions:
    """Return sessions with every item that is in no training window, of users that are not in the data."""
    seen = {item for items in sessions.values() for item in items[:-2][-length:]}
    unseen = sorted({item for items in sessions.values() for item in items} - seen)
    chunks = [unseen[start : start + length] for start in range(0, len(unseen), length)]
    if chunks and len(chunks[-1]) == 1:  # the library trains on no session of one item
        chunks[-1].append(next(iter(seen)))
    first = max(sessions) + 1
    return {first + number: chunk for number, chunk in enumerate(chunks)}


def interactions(sessions: Sessions, weight: float) -> pd.DataFrame:
    """Return the sessions as the library's table; the time is the position."""
    lengths = [len(items) for items in sessions.values()]
    return pd.DataFrame(
        {
            Columns.User: np.repeat(np.array(list(sessions), dtype=int), lengths),
            Columns.Item: np.array([item for items in sessions.values() for item in items], dtype=int),
            Columns.Weight: weight,
            Columns.Datetime: pd.to_datetime([t for n in lengths for t in range(n)], unit="s"),
        }
    )


def histories(sessions: Sessions, held_out: int) -> Dataset:
    """Return everything but the last `held_out` items of every user."""
    return Dataset.construct(interactions({user: items[:-held_out] for user, items in sessions.items()}, 1.0))


def training_set(sessions: Sessions, length: int) -> Dataset:
    """Return the items before both targets, and the rest of the catalogue with weight zero."""
    train = {user: items[:-2] for user, items in sessions.items()}
    tables = [interactions(train, 1.0), interactions(unseen_sessions(sessions, length), 0.0)]
    return Dataset.construct(pd.concat([table for table in tables if len(table)], ignore_index=True))


def target_ranks(model: ModelBase, history: Dataset, targets: pd.Series) -> np.ndarray:
    """Return the rank of every user's target among the recommendations, infinite where it is not there."""
    shown = model.recommend(
        targets.index.to_numpy(), history, k=max(CUTOFFS), filter_viewed=True, on_unsupported_targets="ignore"
    )
    hits = shown[shown[Columns.Item].to_numpy() == shown[Columns.User].map(targets).to_numpy()]
    return hits.set_index(Columns.User)[Columns.Rank].reindex(targets.index).fillna(np.inf).to_numpy()


def scores(ranks: np.ndarray) -> dict[str, float]:
    """Return HR and NDCG at every cut-off, means over users."""
    gains = 1 / np.log2(ranks + 1)
    hits = {f"HR@{k}": float((ranks <= k).mean()) for k in CUTOFFS}
    return hits | {f"NDCG@{k}": float(np.where(ranks <= k, gains, 0.0).mean()) for k in CUTOFFS}


def build_model(args: argparse.Namespace) -> ModelBase:
    return MODELS[args.model](
        n_blocks=args.layers,
        n_heads=args.heads,
        n_factors=args.hidden,
        dropout_rate=args.dropout,
        session_max_len=args.length,
        loss=args.loss,
        lr=args.rate,
        batch_size=args.batch,
        dataloader_num_workers=0,
        recommend_torch_device="cpu",
        get_trainer_func=quiet_trainer,
    )


def run(args: argparse.Namespace) -> dict:
    """Train one model with early stopping and try it; return the line of the result."""
    seed_everything(args.seed, verbose=False)
    sessions = read_sessions(args.data)
    train, history = training_set(sessions, args.length), histories(sessions, 2)
    targets = pd.Series({user: items[-2] for user, items in sessions.items()})
    model = build_model(args)
    best: dict = {"epoch": 0, "value": -1.0}
    evaluations = []
    for epoch in range(args.every, args.epochs + 1, args.every):
        model.fit_partial(train, min_epochs=args.every, max_epochs=args.every)
        started = time.process_time()
        validation = scores(target_ranks(model, history, targets))
        evaluations.append(time.process_time() - started)
        if validation["NDCG@10"] > best["value"]:
            state = {name: value.clone() for name, value in model.lightning_model.state_dict().items()}
            best = {"epoch": epoch, "value": validation["NDCG@10"], "scores": validation, "state": state}
        print(f"epoch {epoch}: validation NDCG@10 {validation['NDCG@10']:.4f}", file=sys.stderr, flush=True)
        if epoch - best["epoch"] >= args.patience:
            break
    model.lightning_model.load_state_dict(best["state"])
    last = pd.Series({user: items[-1] for user, items in sessions.items()})
    clock = next(callback for callback in model.fit_trainer.callbacks if isinstance(callback, EpochClock))
    return {
        "library": "RecTools",
        "version": version("rectools"),
        "model": args.model,
        "loss": args.loss,
        "seed": args.seed,
        "epochs": len(clock.seconds),
        "best_epoch": best["epoch"],
        "cpu_epoch": float(np.mean(clock.seconds)),
        "cpu_to_best": float(np.sum(clock.seconds[: best["epoch"]])),
        "cpu_evaluation": float(np.mean(evaluations)),
        "validation": best["scores"],
        "test": scores(target_ranks(model, histories(sessions, 1), last)),
        "peak_mib": peak_mib(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", choices=list(MODELS), default="sasrec")
    parser.add_argument("--loss", choices=["softmax", "BCE"], default="softmax")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--patience", type=int, default=20, help="epochs without a better validation NDCG@10")
    parser.add_argument("--every", type=int, default=1, help="epochs from one evaluation to the next")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    print(json.dumps(run(args)))


if __name__ == "__main__":
    main()

"""Quality and speed of the backbones on a public benchmark, beside published values and peers.

    python benchmarks/backbones.py ../shared/data/sequences/LastFM.txt --seeds 5 --out lastfm.jsonl
    python benchmarks/backbones.py DATA --only "sasrec;bsarec" --rectools OTHER/bin/python

Full ranking, leave one out, history excluded; models are chosen by validation NDCG@10 and tried once on the
test items. Each run is a process of its own with one thread, and its seconds are CPU seconds. A finished run
is a line of `--out` and is not repeated. `--rectools` names the Python of an environment with
`rectools[torch]`, whose models then run in the same table. `"sasrec, chosen"`, or another backbone so, has its
settings chosen on the data by `settings.py`, within `--passes`, beside `"sasrec, default"`, where that search begins.
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from one_process import peak_mib, run_alone

from csrec_core.models.backbones import BACKBONES

CUTOFFS = (5, 10, 20)
LENGTH = 50  # items of a user's training window


@dataclass(frozen=True, kw_only=True)
class Config:
    """A model as it is trained here."""

    backbone: str
    scheme: str | None = None
    loss: str = "softmax"
    batch: int = 64
    rate: float = 2e-3
    average: float = 0.0
    patience: int = 12
    whole: bool = True
    hyper: dict = field(default_factory=dict)


# One sample a prefix, from the last window of a user: the peers' work, in their batch and at their rate.
PREFIXES = {"scheme": "prefixes", "batch": 256, "rate": 1e-3, "whole": False, "patience": 8}
AVERAGED = {"average": 0.99, "patience": 8}
# What BSARec's authors chose on this data, for the form over the whole window.
AUTHORS = {"alpha": 0.9, "cutoff": 3, "heads": 1, "causal": False}

# Chosen by validation NDCG@10. Batch and rate: of 16, 64, 128 and 1e-3, 2e-3 on SASRec. BSARec: alpha and
# cutoff of (.9, 3), (.5, 5), (.3, 9). BERT4Rec: how tokens are hidden. Averaged weights make no difference on
# SASRec (.062 and .061, one seed). The others met what is published with SASRec's batch and rate.
CONFIGS = {
    "gru4rec": Config(backbone="gru4rec"),
    "caser": Config(backbone="caser"),
    "sasrec": Config(backbone="sasrec"),
    "bert4rec": Config(backbone="bert4rec", batch=256, hyper={"dropout": 0.3}, **AVERAGED),
    "bert4rec, last window": Config(
        backbone="bert4rec", batch=256, whole=False, hyper={"dropout": 0.3}, **AVERAGED
    ),
    "fmlprec": Config(backbone="fmlprec"),
    "fmlprec, exact": Config(backbone="fmlprec", hyper={"causal": False}, **PREFIXES),
    "bsarec": Config(backbone="bsarec", hyper={"alpha": 0.5, "cutoff": 5, "heads": 1}, **AVERAGED),
    "bsarec, exact": Config(backbone="bsarec", hyper=AUTHORS, **PREFIXES),
    "bsarec, exact, whole": Config(backbone="bsarec", hyper=AUTHORS, **PREFIXES | AVERAGED | {"whole": True}),
    "bsarec, authors' alpha": Config(backbone="bsarec", hyper=AUTHORS | {"causal": True}, **AVERAGED),
    "esasrec": Config(backbone="esasrec", loss="sampled_softmax"),
    "esasrec, softmax": Config(backbone="esasrec"),
    "sasrec, averaged": Config(backbone="sasrec", **AVERAGED),
    "sasrec, last window": Config(backbone="sasrec", whole=False),
    "sasrec, per prefix": Config(backbone="sasrec", **PREFIXES),
    "sasrec, bce": Config(backbone="sasrec", loss="bce"),
    "sasrec, gbce": Config(backbone="sasrec", loss="gbce"),
    "sasrec, sampled softmax": Config(backbone="sasrec", loss="sampled_softmax"),
}

# RecTools' models, in the batch of the peers, and in the batch and at the rate that are used here.
PEERS = {
    "RecTools sasrec, softmax": "--model sasrec --loss softmax",
    "RecTools sasrec, softmax, batch 64": "--model sasrec --loss softmax --batch 64 --rate 2e-3",
    "RecTools sasrec, BCE": "--model sasrec --loss BCE",
    "RecTools bert4rec, softmax": "--model bert4rec --loss softmax",
}

# HR@10 and NDCG@10 on LastFM as published: BSARec by its authors' log, the others in S3Rec's table.
PUBLISHED = {
    "gru4rec": (0.0367, 0.0187),
    "caser": (0.0413, 0.0214),
    "sasrec": (0.0688, 0.0390),
    "bert4rec": (0.0633, 0.0337),
    "bsarec, exact": (0.0807, 0.0435),
}
# CPU seconds an epoch of the BSARec authors' code line, one sample a prefix, measured on one thread.
PEER_EPOCH = {
    "gru4rec": 11.8,
    "caser": 214.0,
    "sasrec": 32.5,
    "bert4rec, last window": 37.1,
    "fmlprec, exact": 29.8,
    "bsarec, exact": 41.3,
}


def settings_of(name: str, sequences, training, args: argparse.Namespace) -> Config:
    """Return the settings of a model: of the table, or chosen, or where the choice begins."""
    from settings import CHOICES, choose_settings

    backbone, _, how = name.partition(", ")
    if how not in ("chosen", "default"):
        return CONFIGS[name]
    options = {name: values[0] for name, values in CHOICES.items() if name != "causal"}
    if how == "chosen":
        search = {"backbone": backbone, "whole": not args.last_window, "passes": args.passes}
        options, trials = choose_settings(
            sequences, training=training, folder=args.out.with_suffix(""), **search
        )
        print(trials.round(4).to_string(), file=sys.stderr)
    hyper = {name: options.pop(name) for name in ("dropout", "causal") if name in options}
    return Config(backbone=backbone, whole=not args.last_window, hyper=hyper, **options)


def run_one(args: argparse.Namespace) -> dict:
    """Train one model and try it; all in this process."""
    import torch

    from csrec_core.data.loaders import load_sequences
    from csrec_core.models.next_item import rank_next_item, train_next_item
    from csrec_core.models.sequences import to_sequences
    from csrec_core.models.train import Training

    torch.set_num_threads(1)
    sequences = to_sequences(load_sequences(args.data), length=LENGTH + 2, horizon=1)
    search = Training(epochs=args.epochs, patience=6, batch=64, threads=1)
    config = settings_of(args.one, sequences, search, args)
    own = {name: getattr(config, name) for name in ("patience", "batch", "rate", "average")}
    training = replace(search, seed=args.seed, **own)
    model, history = train_next_item(
        sequences,
        training=training,
        backbone=config.backbone,
        scheme=config.scheme,
        loss=config.loss,
        whole=config.whole,
        **config.hyper,
    )
    started = time.process_time()
    ranks = rank_next_item(model, sequences, part="validation")["rank"]
    evaluation = time.process_time() - started
    best = int(history["validation"].idxmin()) + 1
    return {
        "library": "csrec",
        "model": args.one,
        "seed": args.seed,
        "epochs": len(history),
        "best_epoch": best,
        "cpu_epoch": history["seconds"].mean(),
        "cpu_to_best": history["seconds"][:best].sum(),
        "cpu_evaluation": evaluation,
        "validation": scores(ranks),
        "test": scores(rank_next_item(model, sequences)["rank"]),
        "peak_mib": peak_mib(),
    }


def scores(ranks) -> dict[str, float]:
    """Return HR and NDCG at every cut-off, means over users."""
    from csrec_core.metrics import hit_rate, ndcg

    measures = {"HR": hit_rate, "NDCG": ndcg}
    return {
        f"{name}@{k}": float(measure(ranks, k).mean()) for name, measure in measures.items() for k in CUTOFFS
    }


def commands(args: argparse.Namespace) -> list[tuple[str, int, list[str]]]:
    """Return (model, seed, command) of every run asked for."""
    script = Path(__file__)
    searched = [f"{name}, {how}" for name in BACKBONES for how in ("default", "chosen")]
    limits = ["--passes", str(args.passes), "--epochs", str(args.epochs), "--out", str(args.out)]
    limits += ["--last-window"] * args.last_window
    base = [sys.executable, str(script), str(args.data), *limits, "--one"]
    programs = {name: [*base, name] for name in [*CONFIGS, *searched]}
    if args.rectools:
        peer = [args.rectools, str(script.with_name("rectools_peer.py")), str(args.data)]
        programs |= {name: [*peer, *options.split()] for name, options in PEERS.items()}
    names = args.only.split(";") if args.only else [*CONFIGS, *(PEERS if args.rectools else ())]
    if unknown := set(names) - set(programs):
        sys.exit(f"unknown models {unknown}; expected some of: {'; '.join(programs)}")
    return [
        (name, seed, [*programs[name], "--seed", str(seed)]) for seed in range(args.seeds) for name in names
    ]


def run_all(args: argparse.Namespace) -> tuple[pd.DataFrame, bool]:
    """Run what is not yet in `--out`; return all of its lines, and whether every run succeeded."""
    done = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    have = {(line["model"], line["seed"]) for line in done}

    def run(task: tuple[str, int, list[str]]) -> bool:
        name, seed, command = task
        try:
            line = run_alone(command) | {"model": name, "seed": seed}
        except subprocess.CalledProcessError as error:
            print(f"{name}, seed {seed}: failed with exit code {error.returncode}", file=sys.stderr)
            return False
        with args.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        done.append(line)
        print(f"{name}, seed {seed}: test HR@10 {line['test']['HR@10']:.4f}", file=sys.stderr)
        return True

    with ThreadPoolExecutor(args.jobs) as pool:
        succeeded = list(pool.map(run, [task for task in commands(args) if task[:2] not in have]))
    return pd.json_normalize(done), all(succeeded)


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation over seeds, a row a model, beside published and peer values."""
    by_model = runs.groupby("model", sort=False)
    out = pd.DataFrame({"seeds": by_model.size()})
    for part in ("validation", "test"):
        for measure in (
            ("HR@10", "NDCG@10")
            if part == "validation"
            else [f"{m}@{k}" for m in ("HR", "NDCG") for k in CUTOFFS]
        ):
            column = by_model[f"{part}.{measure}"]
            spread = column.std().map("{:.4f}".format)
            out[f"{part} {measure}"] = column.mean().map("{:.4f}".format) + " ± " + spread
    published = [PUBLISHED.get(name, PUBLISHED.get(f"{name}, exact")) for name in out.index]
    out["published HR@10, NDCG@10"] = [
        "–" if pair is None else "{:.4f}, {:.4f}".format(*pair) for pair in published
    ]
    for column in ("best_epoch", "cpu_epoch", "cpu_to_best", "cpu_evaluation", "peak_mib"):
        out[column] = by_model[column].mean().round(2)
    peer = pd.Series({name: PEER_EPOCH.get(name, PEER_EPOCH.get(f"{name}, exact")) for name in out.index})
    out["peer epoch / epoch"] = (peer / out["cpu_epoch"]).round(1)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", help=f"some of: {'; '.join([*CONFIGS, *PEERS])}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("backbones.jsonl"))
    parser.add_argument("--rectools", help="Python of an environment with rectools[torch]")
    parser.add_argument("--epochs", type=int, default=300, help="passes of a training at most")
    parser.add_argument(
        "--passes", type=int, default=300, help="of a search of settings, all trials together"
    )
    parser.add_argument(
        "--last-window", action="store_true", help="ask searched models for last windows alone"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_one(args)))
    else:
        runs, succeeded = run_all(args)
        print(table(runs).T.to_string())
        sys.exit(not succeeded)


if __name__ == "__main__":
    main()

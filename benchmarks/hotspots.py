"""Where the time of a training pass goes: python benchmarks/hotspots.py DATA [--backbone sasrec]

Profiles one pass for each way of training the same model: one sample a prefix in padded windows, as the
authors of the benchmarks do; one sample a prefix in batches of like length with the last layer read at its
last position; all positions in one pass. Prints CPU seconds and the share of each kind of work.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from torch.profiler import profile

from csrec_core.data.loaders import load_sequences
from csrec_core.models.losses import softmax
from csrec_core.models.next_item import SCHEMES, build_backbone, cut_windows
from csrec_core.models.sequences import to_sequences
from csrec_core.models.train import batches

LENGTH = 50
KINDS = {
    "matrix products": ("mm", "bmm", "addmm", "scaled_dot_product"),
    "softmax": ("softmax",),
    "random numbers": ("bernoulli", "rand", "uniform", "dropout"),
    "optimiser": ("adam", "foreach", "addcdiv", "addcmul"),
    "indexing": ("index", "gather", "scatter", "embedding", "sort"),
}


def padded(model, windows, objective):
    """One sample a prefix, every window padded to the longest, all positions of all layers computed."""
    row, place = windows.wanted.nonzero(as_tuple=True)

    def loss(batch):
        back = place[batch, None] - torch.arange(model.positions, 0, -1)
        items = windows.items[row[batch, None], back.clamp(min=0)] * (back >= 0)
        tokens, real = model._to_end(items, torch.ones_like(items))
        for block in model.blocks:
            tokens = block(tokens, real) * real[..., None]
        return objective(model, tokens[:, -1], windows.items[row[batch], place[batch]]), len(batch)

    return torch.arange(len(row)), None, loss


def kind_of(name: str) -> str:
    """Return the kind of work that an operator is."""
    name = name.lower()
    return next(
        (kind for kind, parts in KINDS.items() if any(part in name for part in parts)),
        "elementwise and other",
    )


def measure(data: Path, backbone: str, scheme, batch: int) -> pd.Series:
    """Return CPU seconds of one pass, and the share of each kind of work in the profiled one."""
    sequences = to_sequences(load_sequences(data), length=LENGTH + 2, horizon=1)
    model = build_backbone(sequences, backbone=backbone, positions=LENGTH - 1)
    windows = cut_windows(sequences, LENGTH)
    rows, lengths, loss = scheme(model, windows, softmax)
    optimiser = torch.optim.Adam(model.parameters(), fused=True)

    def one_pass() -> None:
        model.train()
        for piece in batches(rows, batch, lengths=lengths):
            optimiser.zero_grad()
            loss(piece)[0].backward()
            optimiser.step()

    started = time.process_time()
    one_pass()
    seconds = time.process_time() - started
    with profile() as recorded:
        one_pass()
    work = pd.DataFrame(
        [(kind_of(event.key), event.self_cpu_time_total) for event in recorded.key_averages()]
    )
    share = work.groupby(0)[1].sum() / work[1].sum()
    return pd.Series({"CPU seconds": seconds, **share.sort_values(ascending=False)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="sasrec", choices=["sasrec", "fmlprec", "bsarec"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    schemes = {"per prefix, padded": (padded, 256), "per prefix": (SCHEMES["prefixes"], 256)}
    schemes["all positions"] = (SCHEMES["positions"], 32)
    table = {name: measure(args.data, args.backbone, *scheme) for name, scheme in schemes.items()}
    print(pd.DataFrame(table).round(3).to_string())


if __name__ == "__main__":
    main()

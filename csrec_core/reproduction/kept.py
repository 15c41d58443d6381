"""Finished work, kept as soon as it is there: a run cut short goes on, one that is finished is read again."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from csrec_core.data.log import write_log
from csrec_core.files import hash_files, whole_file
from csrec_core.models.predictions import code_files
from csrec_core.models.train import load_weights, save_weights

__all__ = ["Kept", "kept_key"]


def kept_key(content: Sequence, code: Sequence[Path] = ()) -> str:
    """Return the hash of all that decides a result: `content` (JSON values), the models' code, and `code`."""
    files = [*code_files(), *code, Path(__file__)]
    text = json.dumps([*content, hash_files(files), torch.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Kept:
    """A folder of models, tensors and tables by name; each is whole or absent.

    Parameters
    ----------
    folder : path
        Of one key: what lies there is taken to be what would be made.
    """

    folder: Path

    def has(self, name: str) -> bool:
        """Return whether a model or tensors of that name are kept."""
        return (self.folder / f"{name}.safetensors").exists()

    def has_tables(self, name: str) -> bool:
        """Return whether the tables of a trial are kept."""
        return (self.folder / f"{name}-cells.parquet").exists()

    def model(self, name: str, build: Callable[[], nn.Module], train: Callable[[Path], tuple]) -> nn.Module:
        """Return the trained model of a name, frozen.

        Parameters
        ----------
        build : callable
            Makes the untrained model.
        train : callable
            From a path for the state of the training to the trained model and its curve.
        """
        path = self.folder / f"{name}.safetensors"
        if not self.has(name):
            trained, curve = train(self.folder / f"{name}.part.safetensors")
            save_weights(trained, path, curve=curve.to_dict("list"))
        model = build()
        load_weights(model, path)
        return model.requires_grad_(False)

    def tensors(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return named tensors."""
        path = self.folder / f"{name}.safetensors"
        if not self.has(name):
            values = {key: value.contiguous() for key, value in compute().items()}
            with whole_file(path) as temporary:
                save_file(values, temporary)
        return load_file(path)

    def tables(
        self, name: str, run: Callable[[], tuple[pd.DataFrame, pd.DataFrame]]
    ) -> tuple[pd.DataFrame, pd.DataFrame, float]:
        """Return the cells and the ranks of a trial, and the CPU seconds that they took."""
        files = [self.folder / f"{name}-{part}.parquet" for part in ("ranks", "cells")]
        if not self.has_tables(name):
            started = sum(os.times()[:4])  # of this process and of those that trained for it
            cells, ranks = run()
            seconds = sum(os.times()[:4]) - started
            for frame, path in zip((ranks, cells.assign(seconds=seconds)), files, strict=True):
                write_log(frame, path)
        ranks, cells = map(pd.read_parquet, files)
        seconds = float(cells.pop("seconds").iloc[0])
        return cells, ranks, seconds

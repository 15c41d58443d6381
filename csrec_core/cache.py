"""Finished work, kept as soon as it is there: read again if it is whole, made anew if it is not.

An entry is one or more files and a note, `<name>.json`, written last: the hashes of the files, and the
versions of what computed them. A folder belongs to one key, the hash of all that decides its entries.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from csrec_core.errors import InputError
from csrec_core.files import file_hash, hash_files, read_json, versions, whole_file, write_json
from csrec_core.models.train import load_weights, save_weights

NOTE_SHAPE = {"files": {...: str}, "versions": {...: str}, "about": dict, "sum": str}
TRIAL = ("cells", "ranks")
M = TypeVar("M", bound=nn.Module)


def code_files() -> list[Path]:
    """Return the sources that decide what is predicted: kept models are read again if none changed."""
    package = Path(__file__).parent
    return [*sorted((package / "models").rglob("*.py")), package / "data/items.py"]


@dataclass(frozen=True)
class Cache:
    """A folder of models, tensors and tables by name, of one key (see `of`); each is whole, or made."""

    folder: Path

    @classmethod
    def of(cls, parent: str | Path, kind: str, content: Sequence, code: Sequence[Path] = ()) -> "Cache":
        """Return the cache of a key below `parent`, in a folder whose name begins with `kind`.

        The key is of `content`, JSON values: all data and settings that decide a result; of the versions of what
        computes; and of the sources that decide it, `code_files` and `code`.
        """
        key = _checksum([*content, hash_files([*code_files(), *code]), versions()])
        return cls(Path(parent) / f"{kind}-{key[:12]}")

    def about(self, name: str) -> dict | None:
        """Return what is noted of an entry; None where it is not there, or not as it was written."""
        try:
            note = read_json(self.folder / f"{name}.json", NOTE_SHAPE)
        except InputError:
            return None
        intact = note.pop("sum") == _checksum(note)
        intact &= all(file_hash(self.folder / file) == sha for file, sha in note["files"].items())
        return note["about"] if intact else None

    def model(self, name: str, build: Callable[[], M], train: Callable[..., tuple]) -> M:
        """Return the trained model of a name, frozen; `curve` is noted of it.

        `build` makes the untrained model; `train` goes from `checkpoint`, a path for the state of the training, to the
        trained model and its curve.
        """

        def make(path: Path) -> dict:
            trained, curve = train(checkpoint=path.with_suffix(".part.safetensors"))
            save_weights(trained, path)
            return {"curve": curve.to_dict("list")}

        (path,), _ = self._entry(name, make, [f"{name}.safetensors"])
        load_weights(model := build(), path)
        return model.requires_grad_(False)

    def tensors(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return named tensors."""

        def make(path: Path) -> dict:
            with whole_file(path) as temporary:
                save_file({key: value.contiguous() for key, value in compute().items()}, temporary)
            return {}

        (path,), _ = self._entry(name, make, [f"{name}.safetensors"])
        return load_file(path)

    def tables(
        self, name: str, run: Callable[[], Sequence[pd.DataFrame]], parts: Sequence[str] = TRIAL
    ) -> tuple:
        """Return the tables of a name, in the order of `parts`, and the CPU seconds that they took."""

        def make(*paths: Path) -> dict:
            started = sum(os.times()[:4])  # of this process and of those that trained for it
            frames = run()
            seconds = sum(os.times()[:4]) - started
            for frame, path in zip(frames, paths, strict=True):
                with whole_file(path) as temporary:
                    frame.to_parquet(temporary, index=False)
            return {"seconds": seconds}

        paths, about = self._entry(name, make, [f"{name}-{part}.parquet" for part in parts])
        return (*map(pd.read_parquet, paths), about["seconds"])

    def _entry(
        self, name: str, make: Callable[..., dict], files: Sequence[str]
    ) -> tuple[list[Path], Mapping]:
        """Return an entry's files and what is noted of it; `make` writes the ones and returns the other."""
        paths = [self.folder / file for file in files]
        if (about := self.about(name)) is None:
            about = make(*paths)
            hashes = {path.name: file_hash(path) for path in paths}
            note = {"files": hashes, "versions": versions(), "about": about}
            write_json(self.folder / f"{name}.json", note | {"sum": _checksum(note)})
        return paths, about


def _checksum(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

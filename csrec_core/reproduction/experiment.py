"""The paper's experiment again: next-item baselines and CSRec, trained and tested within users over time.

A preset (`csrec_core.reproduction.presets`) says which exposures f learns from, which stop its training, and
how f~ is read. Every model, readout and result is cached in the run's folder as soon as it is there, so that a
run cut short goes on where it stopped, and one finished is read again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from csrec_core.cache import Cache
from csrec_core.cluster import run_tasks
from csrec_core.data.log import SELF, SYSTEM, Dataset, read_log, write_dataset
from csrec_core.errors import InputError
from csrec_core.models.acceptance import Acceptance, build_model
from csrec_core.models.backbones.encoder import Encoder
from csrec_core.models.csrec import predict_csrec, split_exposures, train_csrec
from csrec_core.models.next_item import build_backbone, rank_next_item, train_next_item
from csrec_core.models.predictions import draw_folds
from csrec_core.models.preference import Readouts, rank_by_acceptance, read_out, train_preference
from csrec_core.models.sequences import Sequences, to_sequences
from csrec_core.reproduction.catalogue import rank_shares, softmax_readouts, with_repeats
from csrec_core.reproduction.presets import FEWEST_READ, Effort, Preset, tested_steps

STUDY_FOLDS = 2
Wanted = tuple[str, int, Preset | None]  # a trial: backbone, seed, preset; None is the next-item baseline


@dataclass(frozen=True, eq=False)
class Trial:
    """What one model with one seed says of what it is tested on."""

    # The tested exposures: `user`, `step` (from 1), `item`, `decision`, `fold`, and of a baseline
    # `rank_share` (Eq. 20), of CSRec the probabilities `f`, `f_marginal`, `f_tilde`, `f_tilde_marginal`.
    cells: pd.DataFrame
    # `user`, `rank`, `candidates` of the last self-chosen item, among the whole catalogue
    ranks: pd.DataFrame
    seconds: float  # CPU time that it took, without what was trained before


@dataclass(frozen=True, eq=False)
class Reproduction:
    """The trials on one log."""

    dataset: Dataset  # with both phases
    effort: Effort
    folder: Path  # of the cache
    jobs: int = 1  # trials run at once, each in a process of its own with one thread; 1 runs them here

    @cached_property
    def sequences(self) -> Sequences:
        """The log as the baselines and f~ read it."""
        log = self.dataset.log
        if not {SELF, SYSTEM} <= set(log["source"].unique()):
            raise InputError(f"{self.dataset.name}: the experiment needs exposures of both sources")
        longest = int(log.loc[log["source"] == SELF].groupby("user").size().max())
        return to_sequences(self.dataset, length=min(self.effort.length, longest))

    @cached_property
    def context(self) -> Sequences:
        """The log as f reads it."""
        real = self.sequences.self_items > 0
        context = self.effort.context or max(FEWEST_READ, int(real.sum(dim=1).min()))
        if context >= real.shape[1]:
            return self.sequences
        return to_sequences(self.dataset, length=context)

    @cached_property
    def left(self) -> Tensor:
        """How many exposures follow each, (U, T); negative is padding."""
        exposed = self.sequences.system_items > 0
        return exposed.sum(dim=1, keepdim=True) - 1 - torch.arange(exposed.shape[1])

    @cached_property
    def last(self) -> int:
        """How many exposures at the end of a user's sequence are for the test."""
        return tested_steps(self.sequences.system_items.shape[1])

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Every exposure by the system: `user`, `t`, `item`, `decision`, `step`, `fold`, and `tested`."""
        return self._cells()

    def masks(self, preset: Preset) -> tuple[Tensor, Tensor | None]:
        """Return which exposures (U, T) f learns from and which stop its training (None: a tenth of users).

        Where a sequence is too short to spare six, each part is as long as the test.
        """
        spared, validated = preset.spared, preset.validated
        if self.last < 3 and not preset.crossed and preset.spared > 2:
            spared, validated = 2 * self.last, self.last
        held = (self.left < spared) & (self.left >= spared - validated)
        return self.left >= spared, held if validated else None

    def sized(self, backbone: str) -> "Reproduction":
        """Return the experiment on the users whom models of this backbone are trained and tested on."""
        few = len(self.sequences.users) <= self.effort.prefix_users
        return self if few or self._is_causal(backbone) else self._smaller

    def trials(self, wanted: Sequence[Wanted]) -> list[Trial]:
        """Run trials, `jobs` at a time, or read those in the cache; in the order asked for."""
        if self.jobs > 1:
            self._run_together([each for each in wanted if not self._is_cached(each)])
        return [self.trial(*each) for each in tqdm(wanted, desc="trials", disable=None, leave=False)]

    def trial(self, backbone: str, seed: int, preset: Preset | None = None) -> Trial:
        """Run a trial, or read it from the cache.

        A baseline, without a preset, is a next-item model of accepted self-chosen items alone, and decides by its
        ranking (Eq. 20). CSRec is f over a frozen f~ of the same backbone and seed.
        """
        ground = self.sized(backbone)
        run = ground._run_baseline if preset is None else partial(ground._run_csrec, preset=preset)
        return Trial(*ground._cache.tables(_name(backbone, seed, preset), partial(run, backbone, seed)))

    def _run_baseline(self, backbone: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        model = self._next_item(backbone, seed)
        share = rank_shares(model, self.sequences, last=self.last, seed=seed)
        return self._tested(rank_share=share), rank_next_item(model, with_repeats(self.sequences))

    def _run_csrec(self, backbone: str, seed: int, preset: Preset) -> tuple[pd.DataFrame, pd.DataFrame]:
        readouts, f_tilde = self._readouts(backbone, seed, preset)
        learn, held = self.masks(preset)
        tested = (self.left >= 0) & (self.left < self.last)
        filtered, marginal = (torch.full(learn.shape, torch.nan) for _ in range(2))
        options: dict[str, Any] = {**self._model(backbone), "parts": preset.parts}
        training = replace(self.effort.csrec, seed=seed)
        start = f_tilde if self.context is self.sequences else None
        ranks = []
        for number in range(STUDY_FOLDS if preset.crossed else 1):
            own = torch.from_numpy(self._fold) == number if preset.crossed else torch.ones(len(learn)) > 0
            users = _some((~own if preset.crossed else own).nonzero()[:, 0], preset.share, seed)
            known = self.context, readouts, users, preset
            model = self._cache.model(
                f"f-{_name(backbone, seed, preset)}-{number + 1}",
                partial(build_model, self.context, **options),
                partial(
                    train_csrec, *known, learn=learn, held=held, training=training, start=start, **options
                ),
            )
            if preset.calibrated:
                self._calibrate(model, *split_exposures(self.context, users, learn, held, seed=seed))
            rows = own.nonzero()[:, 0]
            filtered[rows], marginal[rows] = predict_csrec(model, self.context, rows, wanted=tested)
            rank = rank_by_acceptance(model, with_repeats(self.context))
            ranks.append(rank[rank["user"].isin(self.sequences.users[rows.numpy()])])
        said = {"f": filtered, "f_marginal": marginal}
        said |= {"f_tilde": readouts.filtered, "f_tilde_marginal": readouts.marginal}
        return self._tested(**said), pd.concat(ranks, ignore_index=True)

    def _calibrate(
        self, model: Acceptance, rows: Tensor, stopping: Tensor, learn: Tensor, held: Tensor
    ) -> None:
        """Set scale and level of f on the exposures that stopped its training, of those that it was fitted to."""
        stopped, seen = torch.zeros_like(learn), torch.zeros_like(learn)
        stopped[stopping] = held[stopping]
        seen[rows] = learn[rows]
        seen = seen | stopped if model.backbone.causal else stopped
        filtered, _ = predict_csrec(model, self.context, self.context.everyone, wanted=seen)
        logits = torch.logit(filtered[seen].double(), eps=1e-6)
        model.calibrate(logits, self.context.system_decisions[seen], held=stopped[seen])

    def _readouts(self, backbone: str, seed: int, preset: Preset) -> tuple[Readouts, Acceptance | None]:
        """Return what the frozen f~ says of every exposure, and f~ where f can start from its weights."""
        f_tilde = None
        if preset.readout == "softmax":
            read = partial(softmax_readouts, self._next_item(backbone, seed), self.sequences)
        else:
            training, model = replace(self.effort.baseline, seed=seed), self._model(backbone)
            f_tilde = self._cache.model(
                f"f_tilde-{backbone}-{seed}",
                partial(build_model, self.sequences, **model),
                partial(train_preference, self.sequences, training=training, **model),
            )
            read = partial(read_out, f_tilde, self.sequences)
        name = f"readouts-{preset.readout}-{backbone}-{seed}"
        return Readouts(**self._cache.tensors(name, lambda: vars(read()))), f_tilde

    def _next_item(self, backbone: str, seed: int) -> Encoder:
        training, model = replace(self.effort.baseline, seed=seed), self._model(backbone)
        return self._cache.model(
            f"next-{backbone}-{seed}",
            partial(build_backbone, self.sequences, **model),
            partial(train_next_item, self.sequences, training=training, **model),
        )

    def _model(self, backbone: str) -> dict[str, Any]:
        return {"backbone": backbone, **self.effort.hyper}

    def _is_causal(self, backbone: str) -> bool:
        return build_backbone(self.sequences, positions=2, **self._model(backbone)).causal

    def _cells(self, **values: Tensor) -> pd.DataFrame:
        about: dict[str, Any] = {"fold": self._fold[:, None] + 1, "tested": self.left < self.last}
        return self.sequences.cells(self.dataset.log, **about, **values)

    def _tested(self, **values: Tensor) -> pd.DataFrame:
        """Return the tested cells with a column for each of `values` (U, T)."""
        cells = self._cells(**values)
        return cells[cells["tested"]].drop(columns="tested").reset_index(drop=True)

    @cached_property
    def _fold(self) -> np.ndarray:
        return draw_folds(len(self.sequences.users), STUDY_FOLDS, seed=0)

    @cached_property
    def _smaller(self) -> "Reproduction":
        """The same on few users, for backbones that read each prefix on its own."""
        return replace(self, dataset=sample_users(self.dataset, self.effort.prefix_users))

    @cached_property
    def _cache(self) -> Cache:
        here = Path(__file__)
        code = [*(here.with_name(f"{name}.py") for name in ("catalogue", "presets")), here]
        genres = None if self.dataset.items is None else self.dataset.items.to_csv(index=False)
        content = [self.dataset.fingerprint, genres, asdict(self.effort)]
        return Cache.of(self.folder, "reproduction", content, code)

    def _is_cached(self, wanted: Wanted) -> bool:
        return self.sized(wanted[0])._cache.about(_name(*wanted)) is not None

    def _run_together(self, todo: Sequence[Wanted]) -> None:
        """Run trials in processes; those that wait for the same f~ or next-item model one after the other."""
        groups: dict[str, list[Wanted]] = {}
        for each in sorted(todo, key=lambda each: self._is_causal(each[0])):  # those that take longest first
            backbone, seed, preset = each
            shared = "next" if preset is None else f"readouts-{preset.readout}"
            alone = self.sized(backbone)._cache.about(f"{shared}-{backbone}-{seed}") is not None
            groups.setdefault(_name(*each) if alone else f"{backbone}-{seed}", []).append(each)
        if len(groups) < 2:
            return
        data = write_dataset(self.dataset, self._cache.folder / "data")
        tasks = {name: (data, self.effort, self.folder, trials) for name, trials in groups.items()}
        for _, result in run_tasks(_run_trials, tasks, workers=self.jobs, label="trials", reuse=True):
            if isinstance(result, InputError):
                raise result


def sample_users(dataset: Dataset, users: int, *, seed: int = 0) -> Dataset:
    """Return the log of that many users, at random; of all where there are no more."""
    everyone = dataset.log["user"].unique()
    if users >= len(everyone):
        return dataset
    chosen = np.random.default_rng(seed).permutation(everyone)[:users]
    log = dataset.log[dataset.log["user"].isin(chosen)].reset_index(drop=True)
    return replace(dataset, log=log)


def _name(backbone: str, seed: int, preset: Preset | None) -> str:
    """Return the name of a trial's files."""
    if preset is None:
        return f"baseline-{backbone}-{seed}"
    marked = hashlib.sha256(json.dumps(asdict(preset), sort_keys=True).encode()).hexdigest()[:8]
    return f"{preset.name}-{marked}-{backbone}-{seed}"


def _run_trials(data: Path, effort: Effort, folder: Path, trials: Sequence[Wanted]) -> None:
    """Run trials on the log in the folder `data`; what they find is in the cache."""
    Reproduction(read_log(data), effort, folder).trials(trials)


def _some(rows: Tensor, share: float, seed: int) -> Tensor:
    """Return a share of the users, at random; a larger share holds those of a smaller one."""
    generator = torch.Generator().manual_seed(seed)
    return rows[torch.randperm(len(rows), generator=generator)[: max(10, round(share * len(rows)))]]

"""The paper's experiment again: next-item baselines and CSRec, trained and tested within users over time.

A preset (`csrec_core.reproduction.presets`) says which exposures f learns from, which stop its training, and
how f~ is read. Every model, readout and result is kept in the run's folder as soon as it is there, so that a
run cut short goes on where it stopped, and one finished is read again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from csrec_core.cache import Cache
from csrec_core.cluster import run_tasks
from csrec_core.data.log import SELF, SYSTEM, Dataset, read_log, write_dataset
from csrec_core.errors import InputError
from csrec_core.models.acceptance import PARTS, Acceptance, build_model
from csrec_core.models.csrec import hold_out_users, predict_csrec, train_csrec
from csrec_core.models.next_item import build_backbone, rank_next_item, train_next_item
from csrec_core.models.preference import Readouts, rank_last_choice, read_out, train_preference
from csrec_core.models.ranking import HELD_OUT
from csrec_core.models.sequences import Sequences, to_sequences
from csrec_core.reproduction.catalogue import rank_shares, softmax_readouts, with_repeats
from csrec_core.reproduction.presets import FEWEST, Effort, Preset, tested_steps
from csrec_core.reproduction.samples import sample_users

__all__ = ["Reproduction", "Trial"]

FOLDS = 2
Wanted = tuple[str, int, Preset | None]  # a trial: backbone, seed, preset; None is the next-item baseline


@dataclass(frozen=True, eq=False)
class Trial:
    """What one model with one seed says of what it is tested on.

    Attributes
    ----------
    cells : DataFrame
        The tested exposures: `user`, `step` (from 1), `item`, `decision`, `fold`, and of a baseline
        `rank_share` (Eq. 20), of CSRec the probabilities `f`, `f_marginal`, `f_tilde`, `f_tilde_marginal`.
    ranks : DataFrame
        `user`, `rank`, `candidates` of the last self-chosen item, among the whole catalogue.
    seconds : float
        CPU time that it took, without what was kept from before.
    """

    cells: pd.DataFrame
    ranks: pd.DataFrame
    seconds: float


@dataclass(frozen=True, eq=False)
class Reproduction:
    """The trials on one log.

    Parameters
    ----------
    dataset : Dataset
        Both phases are needed.
    effort : Effort
    folder : path
        Of what is kept.
    jobs : int
        Trials run at once, each in a process of its own with one thread; 1 runs them here.
    """

    dataset: Dataset
    effort: Effort
    folder: Path
    jobs: int = 1

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
        context = self.effort.context or max(FEWEST, int(real.sum(dim=1).min()))
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
        """Every exposure by the system: `user`, `t`, `step`, `item`, `decision`, `fold`, and `tested`."""
        rows = self.sequences.system_rows
        user, step = np.nonzero(rows >= 0)
        cells = self.dataset.log.loc[rows[rows >= 0], ["user", "t", "item", "decision"]]
        tested = self.left.numpy()[user, step] < self.last
        return cells.reset_index(drop=True).assign(step=step + 1, fold=self._fold[user] + 1, tested=tested)

    @cached_property
    def _fold(self) -> np.ndarray:
        users = len(self.sequences.users)
        return np.random.default_rng(0).permutation(np.arange(users) % FOLDS)

    @cached_property
    def _cache(self) -> Cache:
        here = Path(__file__)
        code = [*(here.with_name(f"{name}.py") for name in ("catalogue", "presets", "samples")), here]
        genres = None if self.dataset.items is None else self.dataset.items.to_csv(index=False)
        return Cache.of(
            self.folder, "reproduction", [self.dataset.fingerprint, genres, asdict(self.effort)], code
        )

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
        """Run trials, `jobs` at a time, or read what is kept of them; in the order asked for."""
        if self.jobs > 1:
            self._run_together([each for each in wanted if not self._is_kept(each)])
        found = []
        for backbone, seed, preset in tqdm(wanted, desc="trials", disable=None, leave=False):
            if preset is None:
                found.append(self.baseline(backbone, seed=seed))
            else:
                found.append(self.csrec(backbone, seed=seed, preset=preset))
        return found

    def baseline(self, backbone: str, *, seed: int) -> Trial:
        """Train a next-item model on accepted self-chosen items alone, and decide by its ranking (Eq. 20)."""
        if (ground := self.sized(backbone)) is not self:
            return ground.baseline(backbone, seed=seed)

        def run() -> tuple[pd.DataFrame, pd.DataFrame]:
            model = self._next_item(backbone, seed)
            share = rank_shares(model, self.sequences, last=self.last, seed=seed)
            return self._tested(rank_share=share), rank_next_item(model, with_repeats(self.sequences))

        return Trial(*self._cache.tables(_name(backbone, seed, None), run))

    def csrec(self, backbone: str, *, seed: int, preset: Preset) -> Trial:
        """Train f over a frozen f~ of the same backbone and seed, and read it at the tested exposures."""
        if (ground := self.sized(backbone)) is not self:
            return ground.csrec(backbone, seed=seed, preset=preset)
        name = _name(backbone, seed, preset)
        return Trial(*self._cache.tables(name, lambda: self._run_csrec(name, backbone, seed, preset)))

    def _run_csrec(self, name: str, backbone: str, seed: int, preset: Preset) -> tuple:
        readouts, f_tilde = self._readouts(backbone, seed, preset)
        learn, held = self.masks(preset)
        tested = (self.left >= 0) & (self.left < self.last)
        filtered, marginal = (torch.full(learn.shape, torch.nan) for _ in range(2))
        ranks = []
        for number in range(FOLDS if preset.crossed else 1):
            fold = torch.from_numpy(self._fold)
            own = fold == number if preset.crossed else torch.ones_like(fold, dtype=torch.bool)
            train_users = _some((~own if preset.crossed else own).nonzero()[:, 0], preset.share, seed)
            model = self._cache.model(
                f"f-{name}-{number + 1}",
                lambda: build_model(self.context, backbone=backbone, **self.effort.hyper),
                lambda part, train_users=train_users: train_csrec(
                    self.context,
                    readouts,
                    train_users,
                    preset,
                    parts=preset.parts,
                    learn=learn,
                    held=held,
                    training=replace(self.effort.csrec, seed=seed),
                    backbone=backbone,
                    start=f_tilde if self.context is self.sequences else None,
                    checkpoint=part,
                    **self.effort.hyper,
                ),
            )
            model.parts = PARTS[preset.parts]
            rows = own.nonzero()[:, 0]
            if preset.calibrated:
                self._calibrate(model, *self._fitted(train_users, learn, held, seed))
            filtered[rows], marginal[rows] = predict_csrec(model, self.context, rows, wanted=tested)
            rank = rank_last_choice(model, with_repeats(self.context), by="acceptance")
            ranks.append(rank[rank["user"].isin(self.sequences.users[rows.numpy()])])
        cells = self._tested(
            f=filtered, f_marginal=marginal, f_tilde=readouts.filtered, f_tilde_marginal=readouts.marginal
        )
        return cells, pd.concat(ranks, ignore_index=True)

    def _fitted(
        self, train_users: Tensor, learn: Tensor, held: Tensor | None, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return which exposures (U, T) f was fitted to, and which of them stopped its training."""
        if held is None:
            held = torch.zeros_like(learn)
            _, stopping = hold_out_users(self.context, train_users, seed=seed)
            held[stopping] = learn[stopping]
        mine = torch.zeros_like(learn)
        mine[train_users] = True
        return (learn | held) & mine, held & mine

    def _calibrate(self, model: Acceptance, fitted: Tensor, held: Tensor) -> None:
        """Set scale and level of f on the exposures that stopped its training."""
        seen = fitted if model.backbone.causal else held
        if len(self.context.system_decisions[held].unique()) < 2:
            return
        rows = torch.arange(len(seen))
        filtered, _ = predict_csrec(model, self.context, rows, wanted=seen)
        logits = torch.logit(filtered[seen].double(), eps=1e-6)
        decisions = self.context.system_decisions[seen]
        model.calibrate(logits, decisions, torch.ones(len(logits)), held[seen])

    def _next_item(self, backbone: str, seed: int) -> nn.Module:
        window = self.sequences.self_items.shape[1] - max(HELD_OUT.values())
        common = {"backbone": backbone, **self.effort.hyper}
        return self._cache.model(
            f"next-{backbone}-{seed}",
            lambda: build_backbone(self.sequences, positions=window - 1, **common),
            lambda part: train_next_item(
                self.sequences, training=replace(self.effort.baseline, seed=seed), checkpoint=part, **common
            ),
        )

    def _readouts(self, backbone: str, seed: int, preset: Preset) -> tuple[Readouts, Acceptance | None]:
        """Return what the frozen f~ says of every exposure, and f~ where f can start from its weights."""
        if preset.readout == "softmax":
            model = self._next_item(backbone, seed)

            def read() -> Readouts:
                return softmax_readouts(model, self.sequences)
        else:
            common = {"backbone": backbone, **self.effort.hyper}
            model = self._cache.model(
                f"f_tilde-{backbone}-{seed}",
                lambda: build_model(self.sequences, **common),
                lambda part: train_preference(
                    self.sequences,
                    training=replace(self.effort.baseline, seed=seed),
                    checkpoint=part,
                    **common,
                ),
            )

            def read() -> Readouts:
                return read_out(model, self.sequences)

        kept = self._cache.tensors(f"readouts-{preset.readout}-{backbone}-{seed}", lambda: vars(read()))
        return Readouts(**kept), None if preset.readout == "softmax" else model

    def _is_kept(self, wanted: Wanted) -> bool:
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

    def _tested(self, **values: Tensor) -> pd.DataFrame:
        """Return the tested cells with a column for each of `values` (U, T)."""
        real = self.sequences.system_rows >= 0
        columns = {name: value.cpu().numpy()[real] for name, value in values.items()}
        cells = self.cells.assign(**columns)
        return cells[cells["tested"]].drop(columns="tested").reset_index(drop=True)

    def _is_causal(self, backbone: str) -> bool:
        return build_backbone(self.sequences, backbone=backbone, positions=2, **self.effort.hyper).causal

    @cached_property
    def _smaller(self) -> "Reproduction":
        """The same on few users, for backbones that read each prefix on its own."""
        few = sample_users(self.dataset, self.effort.prefix_users)
        return Reproduction(few, self.effort, self.folder, self.jobs)


def _name(backbone: str, seed: int, preset: Preset | None) -> str:
    """Return the name of a trial's files."""
    if preset is None:
        return f"baseline-{backbone}-{seed}"
    marked = hashlib.sha256(json.dumps(asdict(preset), sort_keys=True).encode()).hexdigest()[:8]
    return f"{preset.name}-{marked}-{backbone}-{seed}"


def _run_trials(data: Path, effort: Effort, folder: Path, trials: Sequence[Wanted]) -> None:
    """Run trials on the log in the folder `data`; what they find is kept in files."""
    Reproduction(read_log(data), effort, folder).trials(trials)


def _some(rows: Tensor, share: float, seed: int) -> Tensor:
    """Return a share of the users, at random; a larger share holds those of a smaller one."""
    generator = torch.Generator().manual_seed(seed)
    return rows[torch.randperm(len(rows), generator=generator)[: max(10, round(share * len(rows)))]]

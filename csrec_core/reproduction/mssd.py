"""The paper's experiment on MSSD (Table 2): nine systems, tested on what the system played in second halves.

A fifth of the sessions is the test. Of those a system knows the first half, and all tracks; the decisions of
the second half are unknown, as in the challenge, so every probability is the marginal estimand. The
sequence models read the tracks of `self` and `system` alone, Few-Shot and CS-Few-Shot the whole session with
its log and its tracks' acoustic features.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from csrec_core.cache import Cache
from csrec_core.data.log import SYSTEM
from csrec_core.data.mssd.slots import Sessions
from csrec_core.errors import InputError, unknown
from csrec_core.evaluation.skips import predict_skip_controls
from csrec_core.models.acceptance import Acceptance, build_model, fit_calibration
from csrec_core.models.backbones import BACKBONES
from csrec_core.models.cs_fewshot import (
    predict_cs_fewshot,
    read_branches,
    train_cs_fewshot,
)
from csrec_core.models.csrec import Objective, predict_csrec, train_csrec
from csrec_core.models.fewshot import FewShot, Slots, predict_skips, train_fewshot
from csrec_core.models.next_item import build_backbone, train_next_item
from csrec_core.models.preference import Readouts, read_out, train_preference
from csrec_core.models.train import Training, hold_out
from csrec_core.reproduction.catalogue import accepted_history, softmax_readouts
from csrec_core.reproduction.experiment import Trial
from csrec_core.reproduction.presets import SessionEffort
from csrec_core.reproduction.published import MSSD_PUBLISHED
from csrec_core.reproduction.sessions import Candidates, SessionLog, draw_candidates, rank_first

# Of the sequence models those of the paper's table; one that came later has nothing published to stand beside.
BASELINES = [name for name in BACKBONES.values() if name in MSSD_PUBLISHED.index]
SYSTEMS = (*BASELINES, "CSRec", "Few-Shot", "CS-Few-Shot")
TESTED = 0.2  # share of the sessions
LARGE_CATALOGUE = 20_000  # tracks beyond which a softmax over the catalogue is sampled
Tables = tuple[pd.DataFrame, pd.DataFrame]  # cells and ranks of a `Trial`


@dataclass(frozen=True, eq=False)
class SessionTrials:
    """The trials on some sessions, with slots of both sources; `folder` is of the cache."""

    sessions: Sessions
    effort: SessionEffort
    folder: Path

    @cached_property
    def tested(self) -> np.ndarray:
        """Which sessions are tested, (S,) bool."""
        count = len(self.sessions.users)
        order = np.random.default_rng(0).permutation(count)
        test = np.zeros(count, dtype=bool)
        test[order[: max(1, round(TESTED * count))]] = True
        return test

    @cached_property
    def train(self) -> Sessions:
        """The sessions to learn from."""
        return self.sessions.take(np.flatnonzero(~self.tested))

    @cached_property
    def test(self) -> Sessions:
        """The tested sessions."""
        return self.sessions.take(np.flatnonzero(self.tested))

    @cached_property
    def exposed(self) -> np.ndarray:
        """X_intv: slots by the system in second halves of the tested sessions, (test sessions, 20) bool."""
        return self.test.asked & (self.test.source == SYSTEM)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The tested exposures: `user`, `slot` (from 1), `item`, `decision`."""
        session, slot = np.nonzero(self.exposed)
        if not len(session):
            raise InputError("no tested session has a track by the system in its second half")
        cells = pd.DataFrame({"user": self.test.users[session], "slot": slot + 1})
        decision = self.test.accepted[self.exposed].astype(int)
        return cells.assign(item=self.test.track[self.exposed], decision=decision)

    @cached_property
    def log(self) -> SessionLog:
        """The sessions as the sequence models read them."""
        return SessionLog.of(self.sessions, self.tested)

    @cached_property
    def candidates(self) -> Candidates:
        """What is ranked; rows are those of `sessions`."""
        return draw_candidates(self.sessions, self.tested, count=self.effort.candidates)

    def trial(self, system: str, *, seed: int) -> Trial:
        """Train a system of `SYSTEMS`, or read it from the cache.

        Its cells have `rank_share` (a ranking, Eq. 20), or the probabilities `f`, `f_marginal`, `f_tilde` and
        `f_tilde_marginal` (CSRec, CS-Few-Shot; `f_marginal` is the challenge's), or `f_marginal` and `f_level`,
        scaled to exposures by the system (Few-Shot). Its ranks have `rank_effect` beside `rank` where candidates
        are ranked by f - f~ as well.
        """
        if system not in SYSTEMS:
            raise unknown("system", system, SYSTEMS)
        runs = {"CSRec": self._csrec, "Few-Shot": self._few_shot, "CS-Few-Shot": self._cs_few_shot}
        run = partial(runs[system] if system in runs else partial(self._baseline, system.lower()), seed)
        return Trial(*self._cache.tables(f"{system.lower()}-{seed}", run))

    def skips(self, seed: int) -> dict[str, np.ndarray]:
        """Return what Few-Shot and lookups say of every slot asked of the test, (n, 20) each; else NaN."""
        said = {"Few-Shot": predict_skips(self._few_shot_model(seed), self.test)}
        return said | predict_skip_controls(self.train, self.test)

    @cached_property
    def _cache(self) -> Cache:
        here = Path(__file__)
        code = [here.with_name(f"{name}.py") for name in ("catalogue", "presets", "sessions", "mssd")]
        return Cache.of(self.folder, "sessions", [self.sessions.fingerprint, asdict(self.effort)], code)

    @cached_property
    def _size(self) -> dict[str, Any]:
        return {"channels": self.effort.channels, "norm": self.effort.norm}

    @cached_property
    def _features(self) -> Tensor:
        return torch.from_numpy(self.sessions.features)

    def _training(self, seed: int) -> Training:
        return replace(self.effort.training, seed=seed)

    def _baseline(self, backbone: str, seed: int) -> Tables:
        """A next-item model of accepted self-chosen tracks; it decides by its ranking."""
        learned, read, tested = self.log.learned, self.log.read, self.log.tested
        common: dict[str, Any] = {"backbone": backbone, **self.effort.hyper}
        loss = "softmax" if len(learned.catalogue) <= LARGE_CATALOGUE else "sampled_softmax"
        model = self._cache.model(
            f"next-{backbone}-{seed}",
            partial(build_backbone, learned, **common),
            partial(train_next_item, learned, training=self._training(seed), loss=loss, **common),
        )
        share = softmax_readouts(model, read, wanted=torch.zeros_like(tested)).rank
        cells = self.cells.assign(rank_share=share[tested].numpy())

        def score(rows: Tensor) -> Tensor:
            return model.score(model.encode_end(accepted_history(read, rows), users=rows))

        return cells, self._ranks(self._score_sequences(score))

    def _csrec(self, seed: int) -> Tables:
        read, tested = self.log.read, self.log.tested
        options = {"training": self._training(seed), "backbone": self.effort.over, **self.effort.hyper}
        build = partial(build_model, read, backbone=self.effort.over, **self.effort.hyper)
        train = partial(train_preference, self.log.learned, **options)
        preference = self._cache.model(f"f_tilde-{seed}", build, train)
        tensors = self._cache.tensors(f"readouts-{seed}", lambda: vars(read_out(preference, read)))
        readouts, objective = Readouts(**tensors), Objective(penalty=self.effort.penalty)
        users = torch.from_numpy(np.flatnonzero(~self.tested[self.log.rows]))
        train = partial(train_csrec, read, readouts, users, objective, start=preference, **options)
        model = self._cache.model(f"f-{seed}", build, train)
        columns = {
            "f": predict_csrec(model, read, read.everyone)[0],
            "f_marginal": predict_csrec(model, self.log.challenge, read.everyone)[0],
            "f_tilde": readouts.filtered,
            "f_tilde_marginal": read_out(preference, self.log.challenge).filtered,
        }
        cells = self.cells.assign(**{name: value[tested].numpy() for name, value in columns.items()})

        def score_by(fitted: Acceptance) -> np.ndarray:
            def score(rows: Tensor) -> Tensor:
                window = read.self_items[rows], read.self_decisions[rows]
                return fitted.catalogue_logits(rows, *window).sigmoid()

            return self._score_sequences(score)

        return cells, self._ranks(score_by(model), score_by(preference))

    def _few_shot_model(self, seed: int) -> FewShot:
        train = partial(train_fewshot, self.train, training=self._training(seed), **self._size)
        return self._cache.model(f"few_shot-{seed}", partial(FewShot, self._features, **self._size), train)

    def _few_shot(self, seed: int) -> Tables:
        model = self._few_shot_model(seed)
        stopping = self.train.take(hold_out(torch.arange(len(self.train.users)), seed=seed)[0].numpy())
        exposed = stopping.asked & (stopping.source == SYSTEM)
        known = torch.logit(torch.from_numpy(predict_skips(model, stopping)[exposed]), eps=1e-6)
        scale, level = fit_calibration(known, torch.from_numpy(stopping.accepted[exposed]))
        own = predict_skips(model, self.test)[self.exposed]
        lifted = torch.sigmoid(scale * torch.logit(torch.from_numpy(own), eps=1e-6) + level)
        cells = self.cells.assign(f_marginal=own, f_level=lifted.numpy())
        return cells, self._ranks(self._score_slots(model))

    def _cs_few_shot(self, seed: int) -> Tables:
        options: dict[str, Any] = {"training": self._training(seed), **self._size}
        build = partial(FewShot, self._features, **self._size)
        train = partial(train_fewshot, self.train, preference=True, **options)
        preference = self._cache.model(f"f_tilde-few_shot-{seed}", build, train)
        tensors = self._cache.tensors(
            f"readouts-few_shot-{seed}", lambda: vars(read_branches(preference, self.train))
        )
        known = Readouts(**tensors), Objective(penalty=self.effort.penalty)
        train = partial(train_cs_fewshot, self.train, *known, start=preference, **options)
        model = self._cache.model(f"f-few_shot-{seed}", build, train)
        cells = self.cells
        for name, fitted in (("f", model), ("f_tilde", preference)):
            filtered, marginal = (part[self.exposed] for part in predict_cs_fewshot(fitted, self.test))
            cells = cells.assign(**{name: filtered, f"{name}_marginal": marginal})
        return cells, self._ranks(self._score_slots(model), self._score_slots(preference))

    def _ranks(self, scores: np.ndarray, before: np.ndarray | None = None) -> pd.DataFrame:
        """Return the ranks of the first candidates by scores (n, C), and by their difference to those `before`."""
        users, number = self.sessions.users[self.candidates.rows], self.effort.candidates
        ranks = pd.DataFrame({"user": users, "candidates": number, "rank": rank_first(scores)})
        return ranks if before is None else ranks.assign(rank_effect=rank_first(scores - before))

    @torch.no_grad()
    def _score_sequences(self, score: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Return scores of the candidates (n, C) from those of the catalogue, a few sessions at a time."""
        rows = torch.from_numpy(np.searchsorted(self.log.rows, self.candidates.rows))
        columns = torch.from_numpy(np.searchsorted(self.log.read.catalogue, self.candidates.tracks))
        pairs = zip(rows.split(64), columns.split(64), strict=True)
        return torch.cat([score(row).gather(1, column) for row, column in pairs]).numpy()

    @torch.no_grad()
    def _score_slots(self, model: nn.Module) -> np.ndarray:
        """Return probabilities (n, C) of accepting each candidate in its slot, given the first half."""
        where, slots = self.candidates, Slots.of(self.sessions.take(self.candidates.rows))
        place = torch.arange(len(where.rows)), torch.from_numpy(where.slots)
        scores = []
        for column in torch.from_numpy(where.tracks).T:
            slots.track[place] = column
            scores.append(torch.sigmoid(slots.logits(model))[place])
        return torch.stack(scores, dim=1).numpy()

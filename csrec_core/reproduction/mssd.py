"""The paper's experiment on MSSD (Table 2): nine systems, tested on what the system played in second halves.

A fifth of the sessions is the test. Of those a system knows the first half, and all tracks; the decisions of
the second half are unknown, as in the challenge, so every probability is the marginal estimand. The
sequence models read the tracks of `self` and `system` alone, Few-Shot and CS-Few-Shot the whole session with
its log and its tracks' acoustic features.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from csrec_core.cache import Cache
from csrec_core.data.log import SYSTEM
from csrec_core.data.mssd.slots import Sessions
from csrec_core.errors import InputError, unknown
from csrec_core.models.acceptance import build_model
from csrec_core.models.backbones import BACKBONES
from csrec_core.models.cs_fewshot import (
    CSFewShot,
    Slots,
    fit_calibration,
    predict_cs_fewshot,
    read_branches,
    train_cs_fewshot,
    train_fewshot_preference,
)
from csrec_core.models.csrec import Objective, predict_csrec, train_csrec
from csrec_core.models.fewshot import FewShot, hold_out, predict_skips, train_fewshot
from csrec_core.models.next_item import build_backbone, train_next_item
from csrec_core.models.preference import Readouts, read_out, train_preference
from csrec_core.models.ranking import HELD_OUT
from csrec_core.models.train import Training
from csrec_core.reproduction.catalogue import accepted_history, softmax_readouts
from csrec_core.reproduction.experiment import Trial
from csrec_core.reproduction.presets import SessionEffort
from csrec_core.reproduction.published import MSSD_PUBLISHED
from csrec_core.reproduction.sessions import Candidates, SessionLog, draw_candidates, rank_first

__all__ = ["SYSTEMS", "SessionTrials"]

# The sequence models of the paper's table; one that came later has nothing published to stand beside.
_BASELINES = {
    model.__name__: name for name, model in BACKBONES.items() if model.__name__ in MSSD_PUBLISHED.index
}
SYSTEMS = (*_BASELINES, "CSRec", "Few-Shot", "CS-Few-Shot")
LARGE = 20_000  # tracks beyond which a softmax over the catalogue is sampled


@dataclass(frozen=True, eq=False)
class SessionTrials:
    """The trials on some sessions.

    Parameters
    ----------
    sessions : Sessions
        With slots of both sources.
    effort : SessionEffort
    folder : path
        Of what is kept.
    """

    sessions: Sessions
    effort: SessionEffort
    folder: Path

    @cached_property
    def tested(self) -> np.ndarray:
        """Which sessions are tested, (S,) bool."""
        count = len(self.sessions.users)
        order = np.random.default_rng(0).permutation(count)
        test = np.zeros(count, dtype=bool)
        test[order[: max(1, round(self.effort.test * count))]] = True
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
        return pd.DataFrame(
            {
                "user": self.test.users[session],
                "slot": slot + 1,
                "item": self.test.track[self.exposed],
                "decision": self.test.accepted[self.exposed].astype(int),
            }
        )

    @cached_property
    def log(self) -> SessionLog:
        """The sessions as the sequence models read them."""
        return SessionLog.of(self.sessions, self.tested)

    @cached_property
    def candidates(self) -> Candidates:
        """What is ranked; rows are those of `sessions`."""
        sizes = {"count": self.effort.candidates, "largest": self.effort.ranked}
        return draw_candidates(self.sessions, self.tested, **sizes)

    def trial(self, system: str, *, seed: int) -> Trial:
        """Train a system of `SYSTEMS`, or read what is kept of it.

        Returns
        -------
        Trial
            Its cells have `rank_share` (a ranking, Eq. 20), or the probabilities `f`, `f_marginal`, `f_tilde`
            and `f_tilde_marginal` (CSRec, CS-Few-Shot; `f_marginal` is the challenge's), or `f_marginal` and
            `f_level`, scaled to exposures by the system (Few-Shot). Its ranks have `rank_effect` beside
            `rank` where candidates are ranked by f - f~ as well.
        """
        if system not in SYSTEMS:
            raise unknown("system", system, SYSTEMS)
        run = {"CSRec": self._csrec, "Few-Shot": self._few_shot, "CS-Few-Shot": self._cs_few_shot}.get(
            system, lambda seed: self._baseline(_BASELINES[system], seed)
        )
        return Trial(*self._cache.tables(f"{system.lower()}-{seed}", lambda: run(seed)))

    def skips(self, seed: int) -> np.ndarray:
        """Return Few-Shot's probability of acceptance of every slot asked of the test, (n, 20); else NaN."""
        return predict_skips(self._few_shot_model(seed), self.test)

    @cached_property
    def _cache(self) -> Cache:
        here = Path(__file__)
        code = [here.with_name(f"{name}.py") for name in ("catalogue", "presets", "sessions", "mssd")]
        return Cache.of(self.folder, "sessions", [self.sessions.fingerprint, asdict(self.effort)], code)

    def _training(self, seed: int) -> Training:
        return replace(self.effort.training, seed=seed)

    def _baseline(self, backbone: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A next-item model of accepted self-chosen tracks; it decides by its ranking."""
        learned, told = self.log.learned, self.log.told
        window = learned.self_items.shape[1] - max(HELD_OUT.values())
        common = {"backbone": backbone, **self.effort.hyper}
        loss = "softmax" if len(learned.catalogue) <= LARGE else "sampled_softmax"
        model = self._cache.model(
            f"next-{backbone}-{seed}",
            lambda: build_backbone(learned, positions=window - 1, **common),
            lambda part: train_next_item(
                learned, training=self._training(seed), loss=loss, checkpoint=part, **common
            ),
        )
        share = softmax_readouts(model, told, wanted=torch.zeros_like(self.log.tested)).rank
        cells = self.cells.assign(rank_share=share[self.log.tested].numpy())

        def score(rows: Tensor) -> Tensor:
            return model.score(model.encode_end(accepted_history(told, rows), users=rows))

        return cells, self._ranks(rank=self._score_sequences(score))

    def _csrec(self, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        learned, told, tested = self.log.learned, self.log.told, self.log.tested
        common = {"backbone": self.effort.over, **self.effort.hyper}
        options = {"training": self._training(seed), **common}

        def build() -> nn.Module:
            return build_model(told, **common)

        preference = self._cache.model(
            f"f_tilde-{seed}", build, lambda part: train_preference(learned, checkpoint=part, **options)
        )
        readouts = Readouts(
            **self._cache.tensors(f"readouts-{seed}", lambda: vars(read_out(preference, told)))
        )
        train_users = torch.from_numpy(np.flatnonzero(~self.tested[self.log.rows]))
        model = self._cache.model(
            f"f-{seed}",
            build,
            lambda part: train_csrec(
                told,
                readouts,
                train_users,
                Objective(penalty=self.effort.penalty),
                start=preference,
                checkpoint=part,
                **options,
            ),
        )
        everyone = torch.arange(len(self.log.rows))
        columns = {
            "f": predict_csrec(model, told, everyone)[0],
            "f_marginal": predict_csrec(model, self.log.challenge, everyone)[0],
            "f_tilde": readouts.filtered,
            "f_tilde_marginal": read_out(preference, self.log.challenge).filtered,
        }
        cells = self.cells.assign(**{name: value[tested].numpy() for name, value in columns.items()})

        def score_by(fitted: nn.Module) -> np.ndarray:
            return self._score_sequences(
                lambda rows: fitted.catalogue_logits(
                    told.self_items[rows], told.self_decisions[rows], rows
                ).sigmoid()
            )

        by_f, by_tilde = score_by(model), score_by(preference)
        return cells, self._ranks(rank=by_f, rank_effect=by_f - by_tilde)

    def _few_shot_model(self, seed: int) -> FewShot:
        size = {"channels": self.effort.channels, "norm": self.effort.norm}
        features = torch.from_numpy(self.sessions.features)
        return self._cache.model(
            f"few_shot-{seed}",
            lambda: FewShot(features, **size),
            lambda part: train_fewshot(self.train, training=self._training(seed), checkpoint=part, **size),
        )

    def _few_shot(self, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        model = self._few_shot_model(seed)
        stopping = self.train.take(hold_out(len(self.train.users), 0.1, seed=seed)[0].numpy())
        exposed = stopping.asked & (stopping.source == SYSTEM)
        known = torch.logit(torch.from_numpy(predict_skips(model, stopping)[exposed]), eps=1e-6)
        scale, level = fit_calibration(known, torch.from_numpy(stopping.accepted[exposed]))
        own = predict_skips(model, self.test)[self.exposed]
        lifted = torch.sigmoid(scale * torch.logit(torch.from_numpy(own), eps=1e-6) + level)
        cells = self.cells.assign(f_marginal=own, f_level=lifted.numpy())
        return cells, self._ranks(rank=self._score_slots(model))

    def _cs_few_shot(self, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        size = {"channels": self.effort.channels, "norm": self.effort.norm}
        features = torch.from_numpy(self.sessions.features)
        options = {"training": self._training(seed), **size}

        def build() -> nn.Module:
            return CSFewShot(features, **size)

        preference = self._cache.model(
            f"f_tilde-few_shot-{seed}",
            build,
            lambda part: train_fewshot_preference(self.train, checkpoint=part, **options),
        )
        kept = self._cache.tensors(
            f"readouts-few_shot-{seed}", lambda: vars(read_branches(preference, self.train))
        )
        model = self._cache.model(
            f"f-few_shot-{seed}",
            build,
            lambda part: train_cs_fewshot(
                self.train,
                Readouts(**kept),
                penalty=self.effort.penalty,
                start=preference,
                checkpoint=part,
                **options,
            ),
        )
        columns = {}
        for name, fitted in (("f", model), ("f_tilde", preference)):
            both = predict_cs_fewshot(fitted, self.test)
            columns |= dict(
                zip((name, f"{name}_marginal"), (part[self.exposed] for part in both), strict=True)
            )
        by_f, by_tilde = self._score_slots(model), self._score_slots(preference)
        return self.cells.assign(**columns), self._ranks(rank=by_f, rank_effect=by_f - by_tilde)

    def _ranks(self, **scores: np.ndarray) -> pd.DataFrame:
        """Return the ranks of the first candidates by each of `scores` (n, C)."""
        users, number = self.sessions.users[self.candidates.rows], self.effort.candidates
        ranks = {name: rank_first(values) for name, values in scores.items()}
        return pd.DataFrame({"user": users, "candidates": number, **ranks})

    @torch.no_grad()
    def _score_sequences(self, score: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Return scores of the candidates (n, C) from those of the catalogue, a few sessions at a time."""
        rows = np.searchsorted(self.log.rows, self.candidates.rows)
        columns = np.searchsorted(self.log.told.catalogue, self.candidates.tracks)
        parts = [
            score(row).gather(1, column)
            for row, column in zip(
                torch.from_numpy(rows).split(64), torch.from_numpy(columns).split(64), strict=True
            )
        ]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def _score_slots(self, model: nn.Module) -> np.ndarray:
        """Return probabilities (n, C) of accepting each candidate in its slot, given the first half."""
        where, slots = self.candidates, Slots.of(self.sessions.take(self.candidates.rows))
        place = torch.arange(len(where.rows)), torch.from_numpy(where.slots)
        tracks, scores = torch.from_numpy(where.tracks), []
        for column in tracks.T:
            slots.track[place] = column
            logits = model(slots.log, slots.track, slots.accepted, slots.given)
            scores.append(torch.sigmoid(logits)[place])
        return torch.stack(scores, dim=1).numpy()

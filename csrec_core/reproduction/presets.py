"""The ways to repeat the paper's experiment: what f learns from, what it is tested on, how f~ is read."""

from dataclasses import dataclass, field, replace

from csrec_core.errors import InputError
from csrec_core.models.csrec import Objective
from csrec_core.models.train import Training

FEWEST_READ = 5  # self-chosen exposures that f reads where some users have less


@dataclass(frozen=True, kw_only=True)
class Preset(Objective):
    """What CSRec learns from and how, beside its `Objective`; T is a user's number of exposures by the system."""

    name: str  # a word, and the beginning of the names of its files
    # Exposures at the end of each user's sequence that f does not learn from; the first `validated` of them
    # stop its training. 0 with `crossed`.
    spared: int = 6
    validated: int = 3
    # f of a user is trained on whole sequences of the users of the other half, and not on their own
    crossed: bool = False
    # f~ as published, "softmax" (`csrec_core.reproduction.catalogue`), or on the scale of a decision,
    # "acceptance" (`csrec_core.models.preference`)
    readout: str = "acceptance"
    # "filtered" or "marginal": whether the decisions before an exposure are given when f is tested on it
    reported: str = "filtered"
    # Scale and level of f are set on the exposures that stopped its training, where they show both decisions;
    # with `crossed`, those of a tenth of the users that it learns from.
    calibrated: bool = False
    share: float = 1.0  # of the users whose exposures are learned from, in (0, 1]
    # what f is made of (`csrec_core.models.acceptance.LOGIT_PARTS`); as published, the encoder alone
    parts: str = "both"

    @property
    def columns(self) -> tuple[str, str]:
        """The columns of a trial's cells that are reported: of f, and of f~."""
        ending = {"filtered": "", "marginal": "_marginal"}[self.reported]
        return f"f{ending}", f"f_tilde{ending}"


_PAPER = Preset(
    name="paper",
    spared=2,  # learns from 1..T-2, stops on T-1, is tested on T-2..T: T-2 is learned from and tested
    validated=1,
    readout="softmax",
    estimand="marginal",
    reported="marginal",
    parts="encoder",
)
PRESETS = {
    "paper": _PAPER,
    # As the published code: there f~ is not frozen and follows f, so that the constraint binds nothing.
    "unconstrained": replace(_PAPER, name="unconstrained", penalty=0.0),
    "sound": Preset(name="sound", calibrated=True),
    "crossed": Preset(name="crossed", spared=0, validated=0, crossed=True, calibrated=True),
}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How large the models are and how long they train."""

    length: int = 50  # self-chosen exposures that the baselines and f~ read
    # Of these, the last that f reads; 0 is as many as every user has, and at least `FEWEST_READ`. Where no
    # user has fewer, the place of an exposure in the window is its number.
    context: int = 0
    # of the next-item models and f~; the seed is set by each trial
    baseline: Training = field(default_factory=Training)
    csrec: Training = field(default_factory=Training)  # of f
    prefix_users: int = 1000  # a backbone that reads each prefix on its own takes this many users, at random
    hyper: dict = field(default_factory=dict)  # keyword arguments of the backbones


@dataclass(frozen=True, kw_only=True)
class SessionEffort:
    """How large the models are on sessions of MSSD, how long they train, and what is asked."""

    training: Training = field(default_factory=Training)  # of every model; the seed is set by each trial
    over: str = "sasrec"  # the backbone of CSRec
    penalty: float = 1.0  # weight of the constraint of Eq. 9, in CSRec and CS-Few-Shot
    hyper: dict = field(default_factory=dict)  # of the backbones
    channels: int = 64  # of Few-Shot, as `norm`: see `csrec_core.models.fewshot.FewShot`
    norm: str = "causal"  # the published one is "instance"
    candidates: int = 100  # tracks that a chosen one is ranked among, itself included


def tested_steps(steps: int) -> int:
    """Return how many exposures at the end of `steps` are for the test: three, as published, or a quarter."""
    if steps < 4:
        raise InputError(f"{steps} exposures by the system; expected at least 4 to split them over time")
    return min(3, steps // 4)


def with_penalty(penalty: float) -> dict[str, Preset]:
    """Return the presets, their constraint of this weight where it binds, and `free`: crossed without it."""
    made = {
        name: replace(preset, penalty=penalty) if preset.penalty else preset
        for name, preset in PRESETS.items()
    }
    return made | {"free": replace(PRESETS["crossed"], name="free", penalty=0.0)}

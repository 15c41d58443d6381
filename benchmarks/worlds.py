"""Foreign worlds: logs with a known effect that share no code with the package's own simulator.

Readers have a hidden vector of preference, items a vector, a quality and a fame. The baseline exposes by
preference and fame (the reader chooses), the arm by one of several policies; every chance is known and logged
as asked. A decision follows a link of affinity, quality, the decision before, a drift in time, and the effect
of the arm. The truth is the mean difference of the two acceptance probabilities at each exposure of the arm; where
the arm itself is drawn, at every exposure, each side with the items that it would pick.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from scipy.stats import norm

from csrec_core.data.log import Dataset, validate_log

LINKS = {"logit": expit, "probit": norm.cdf, "saturating": lambda x: 0.6 * expit(1.5 * x)}


@dataclass(frozen=True)
class World:
    """Knobs of a world; see `worlds`."""

    users: int = 600
    items: int = 200
    link: str = "logit"
    base: float = -1.2
    affinity: float = 1.0
    effect: float = 0.6
    spread: float = 0.0  # of the effect over users
    growth: float = 0.0  # of the effect from the first exposure by the arm to the twentieth
    carry: float = 0.3
    drift: float = 0.0  # of the link from the first exposure to the last, in both arms
    chosen: float = 1.0  # how strongly the baseline follows preference
    policy: str = "uniform"  # of the arm: uniform, popular, personal, as chosen by oneself, or daily
    interleaved: bool = False
    mean: float = 12.0  # exposures of an arm a user
    heavy: bool = False  # a lognormal number of exposures instead of a fixed one
    published: bool = False  # whether the affinity of the exposed item is a column
    logged: tuple[str, ...] = ("self", "system")  # arms whose chances are logged
    noise: str = ""  # a column of noise: user, item or exposure
    misreport: str = ""  # baseline chances that are wrong: uniform, or sharpened
    disjoint: bool = False  # the arm exposes items that nobody chose
    randomised_arm: bool = False  # the arm itself is drawn at every exposure, with chance 0.4
    leaning: float = 0.0  # how far a hidden trait moves the odds of meeting the arm, and of accepting


def simulate(world: World, seed: int) -> tuple[Dataset, pd.DataFrame]:
    """Return a log, and a row for each exposure of the target: `user`, `t`, `source`, `step`, `p1`, `p0`."""
    rng = np.random.default_rng([seed, 77])
    n, m, k = world.users, world.items, 4
    preference, vector = rng.normal(size=(n, k)) / np.sqrt(k), rng.normal(size=(m, k))
    affinity = preference @ vector.T  # standard deviation 1 over pairs
    quality, fame = rng.normal(0, 0.4, m), rng.normal(0, 0.8, m)
    chances = {"self": softmax(world.chosen * affinity + fame, axis=1)}
    if world.policy == "as chosen":
        chances["system"] = chances["self"]
    elif world.policy == "uniform":
        chances["system"] = np.full((n, m), 1 / m)
    elif world.policy in ("popular", "daily"):
        chances["system"] = np.tile(softmax(1.2 * fame), (n, 1))
    else:
        guess = affinity + rng.normal(0, 0.7, (n, m))
        chances["system"] = softmax(0.8 * guess, axis=1)
    if world.disjoint:
        half = np.arange(m) < m // 2
        for name, allowed in (("self", half), ("system", ~half)):
            chances[name] = chances[name] * allowed / (chances[name] * allowed).sum(axis=1, keepdims=True)
    each = world.mean * (rng.lognormal(-0.5, 1.0, n) if world.heavy else np.ones(n))
    each = np.clip(np.round(each), 1, 60).astype(int)
    length = 2 * each.max()
    total = 2 * each
    place = np.arange(length)[None, :]
    trait = world.leaning * rng.normal(size=n) if world.leaning else np.zeros(n)
    if world.leaning:
        system = rng.random((n, length)) < expit(trait)[:, None]
    elif world.randomised_arm:
        system = rng.random((n, length)) < 0.4
    elif world.interleaved:
        system = np.argsort(
            np.argsort(np.where(place < total[:, None], rng.random((n, length)), 2), axis=1), axis=1
        )
        system = system % 2 == 1
    else:
        system = place >= each[:, None]
    trust = world.effect + world.spread * rng.normal(size=n)
    link, last, step = LINKS[world.link], np.zeros(n), {"self": np.zeros(n, int), "system": np.zeros(n, int)}
    log, truth, everyone = [], [], np.arange(n)
    for now in range(length):
        here = now < total
        if not here.any():
            break
        side = system[:, now]
        if world.policy == "daily":
            wave = np.sin(6 * now / length + np.arange(m))
            chances["system"] = np.tile(softmax(1.2 * fame + wave), (n, 1))
        chance = np.where(side[:, None], chances["system"], chances["self"])
        item = (chance.cumsum(axis=1) > rng.random(n)[:, None]).argmax(axis=1)
        levels = world.base + world.affinity * affinity + quality + (world.carry * last + trait)[:, None]
        levels = levels + world.drift * now / length
        level = levels[everyone, item]
        gain = trust * (1 + world.growth * (np.minimum(step["system"], 20) / 20))
        p1, p0 = link(level + gain), link(level)
        decision = (rng.random(n) < np.where(side, p1, p0)).astype(int)
        own = chance[everyone, item]
        if world.misreport == "uniform":
            own = np.where(side, own, 1 / m)
        elif world.misreport:
            own = np.where(side, own, own**0.5)
        name = np.where(side, "system", "self")
        for arm in step:
            step[arm] += here & (name == arm)
        number = np.where(side, step["system"], step["self"])
        frame = pd.DataFrame(
            {
                "user": everyone,
                "item": item,
                "decision": decision,
                "source": name,
                "t": number,
                "propensity": own,
            }
        )
        frame["feature_affinity"] = affinity[everyone, item]
        if world.interleaved or world.randomised_arm or world.leaning:
            frame["timestamp"] = now * 1000 + everyone % 1000
        log.append(frame[here])
        known = pd.DataFrame({"user": everyone, "t": number, "step": number, "p1": p1, "p0": p0})
        if world.randomised_arm:
            known["p1"] = (chances["system"] * link(levels + gain[:, None])).sum(axis=1)
            known["p0"] = (chances["self"] * link(levels)).sum(axis=1)
        truth.append(known.assign(source=name)[here & (side | world.randomised_arm)])
        last = np.where(here, decision, last)
    log = pd.concat(log, ignore_index=True)
    log.loc[~log["source"].isin(world.logged), "propensity"] = np.nan
    if not world.published:
        log = log.drop(columns="feature_affinity")
    if world.noise:
        key = {"user": "user", "item": "item"}.get(world.noise)
        draws = rng.normal(size=len(log) if key is None else max(n, m))
        log["feature_noise"] = draws if key is None else draws[log[key]]
    return Dataset(validate_log(log), name="world"), pd.concat(truth, ignore_index=True)


PUBLISHED = {"published": True, "logged": ()}
#: Worlds by name, each with what is declared of it and whether its status lets the effect be believed.
WORLDS: dict[str, tuple[World, dict]] = {
    "logged, logit": (World(), {}),
    "logged, probit, rare": (World(link="probit", base=-2.4, users=1500), {}),
    "logged, saturating, frequent": (World(link="saturating", base=0.3), {}),
    "logged, heavy-tailed": (World(heavy=True), {}),
    "logged, popular items only": (World(policy="popular"), {}),
    "logged, interleaved, drift": (World(interleaved=True, drift=1.0), {}),
    "logged, other every day, interleaved": (World(policy="daily", interleaved=True), {}),
    "logged, growing, users differ": (World(growth=1.0, spread=0.5), {}),
    "published, logit": (World(**PUBLISHED), {"confounders": ("feature_affinity",)}),
    "published, rare, heavy-tailed": (
        World(base=-4.5, heavy=True, users=2500, **PUBLISHED),
        {"confounders": ("feature_affinity",)},
    ),
    "published, personal policy": (
        World(policy="personal", **PUBLISHED),
        {"confounders": ("feature_affinity",)},
    ),
    "published, personal, interleaved, drift": (
        World(policy="personal", interleaved=True, drift=1.0, spread=0.5, **PUBLISHED),
        {"confounders": ("feature_affinity",)},
    ),
    "arm randomised": (World(randomised_arm=True, policy="personal", logged=()), {"arm_propensity": 0.4}),
}
#: Worlds that cannot be told, and what is wrong with them.
UNTOLD: dict[str, World] = {
    "hidden preferences, nothing logged": World(logged=()),
    "chances misreported": World(misreport="uniform"),
    "chances sharpened": World(misreport="sharpened"),
    "disjoint items": World(disjoint=True),
    "chances of one arm, personal policy": World(logged=("self",), policy="personal"),
    "users who accept more meet more of the arm": World(leaning=0.7),
}


def without_effect(world: World) -> World:
    """Return the world with no effect of the arm; of an arm drawn itself, what it picks is part of its effect."""
    alike = {"policy": "as chosen"} if world.randomised_arm else {}
    return replace(world, effect=0.0, spread=0.0, growth=0.0, **alike)

"""What was randomised, what is claimed, and what is asked: the declaration that every effect starts from."""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from csrec_core.data.columns import FEATURE
from csrec_core.data.items import numbers_of
from csrec_core.data.log import SELF, SYSTEM, Dataset
from csrec_core.errors import InputError, unknown
from csrec_core.files import read_mapping

__all__ = ["ESTIMANDS", "TARGETS", "UNITS", "Design", "find_design", "read_design"]

#: What changes between the two sides of the comparison.
ESTIMANDS = {
    "exposure": "the same item at the same history, exposed by one arm or by the other",
    "arm": "the arm as a whole, with the items that it picks",
}
#: Where the mean is taken.
TARGETS = {
    "exposed": "the items that the arm exposed",
    "uniform": "items drawn uniformly from the catalogue",
    "everyone": "all exposures of the log, whatever their arm",
}
#: What counts once in the mean.
UNITS = {"exposures": "every exposure equally", "users": "every user equally"}
#: By declaration, what it may be.
VALID = {
    "estimand": ESTIMANDS,
    "target": TARGETS,
    "unit": UNITS,
    "propensity": ("design", "estimated", "unused"),
    "arm_chances": ("design", "estimated"),
}
#: How baselines are named.
CONTROL = re.compile(
    r"(control|none|no|not|off|holdout|baseline|random|placebo|default|current|old|popular|self|0|a$)(?![a-z])",
    re.I,
)


@dataclass(frozen=True)
class Design:
    """A declaration of arms, randomisation and target.

    A column is never a proof: what it is taken for stands here, and what speaks for and against that is in
    `csrec_core.effect.identification.Identification`.

    Attributes
    ----------
    arm, baseline : str
        The effect is that of `arm` against `baseline`; two values of the log's `source`.
    estimand, target, unit : str
        Keys of `ESTIMANDS`, `TARGETS`, `UNITS`.
    propensity : {"design", "estimated", "unused"}
        What the logged chances of the items are; without any in the log, of no consequence.
    arm_propensity : float, dict or None
        Chance of `arm`, or the chances of the arms by name; None where the log has them in a column of that
        name, or where the arm was not randomised.
    arm_chances : {"design", "estimated"}
        What the chances of the arms are.
    confounders : tuple of str
        Columns of the log, or of its tables, that are claimed to hold all that moves both the choice of arm
        or item, and the decision.

    Examples
    --------
    >>> Design(confounders=("feature_preference",)).target
    'exposed'
    """

    arm: str = SYSTEM
    baseline: str = SELF
    estimand: str = "exposure"
    target: str = "exposed"
    unit: str = "exposures"
    propensity: str = "design"
    arm_propensity: float | dict | None = None
    arm_chances: str = "design"
    confounders: tuple[str, ...] = ()

    def __post_init__(self):
        for name, valid in VALID.items():
            if getattr(self, name) not in valid:
                raise unknown(f"{name} of the design", getattr(self, name), valid)
        if self.arm == self.baseline:
            raise InputError(f"design: arm and baseline are both {self.arm!r}; expected two arms of the log")
        if self.arm_propensity is not None:
            chance = self.chance(self.arm), self.chance(self.baseline)
            if not all(0 < one < 1 for one in chance) or sum(chance) > 1 + 1e-9:
                raise InputError(
                    f"design: arm_propensity = {self.arm_propensity!r}; expected chances in (0, 1), at most 1 "
                    f"together, for {self.arm!r} and {self.baseline!r}"
                )

    def chance(self, arm: str) -> float:
        """Return the declared chance of an arm."""
        declared = self.arm_propensity
        if isinstance(declared, dict):
            if arm not in declared:
                raise unknown("arm in arm_propensity of the design", arm, declared)
            declared = declared[arm]
        elif arm != self.arm:
            declared = 1 - _as_number(declared)
        return _as_number(declared)

    def to_dict(self) -> dict:
        """Return what `read_design` reads."""
        return {**asdict(self), "confounders": list(self.confounders)}

    def __str__(self) -> str:
        return (
            f"{self.arm} against {self.baseline}: {ESTIMANDS[self.estimand]}; mean over "
            f"{TARGETS[self.target]}, {UNITS[self.unit]}."
        )


def _as_number(value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"design: arm_propensity = {value!r}; expected a number in (0, 1)")
    return float(value)


def find_design(dataset: Dataset, **declared) -> Design:
    """Return the design of a log: what is declared, and the rest as the log shows it.

    Found are the arms (`system` and `self`, else the one named as a control is the baseline, and the most
    frequent other one the arm), and the estimand: the arm as a whole where its chances are logged or
    declared, or the log has one item; else the same item under either arm.

    Raises
    ------
    InputError
        With one arm, or a declaration that the log does not bear out.
    """
    counts = dataset.log["source"].astype(str).value_counts()
    arms = list(counts.index)
    for name in ("arm", "baseline"):
        if name in declared and declared[name] not in arms:
            raise unknown(f"{name} of the design", declared[name], arms)
    if len(arms) == 1:
        raise InputError(
            f"{dataset.name}: one arm alone, {arms[0]!r}; expected exposures of two arms to compare"
        )
    if "baseline" not in declared:
        rest = [arm for arm in arms if arm != declared.get("arm")]
        named = [arm for arm in rest if CONTROL.match(arm)]
        declared["baseline"] = SELF if SELF in rest else (named or rest or [SELF])[0]
    if "arm" not in declared:
        rest = [arm for arm in arms if arm != declared["baseline"]]
        declared["arm"] = SYSTEM if SYSTEM in rest or not rest else rest[0]
    by_arm = declared.get("arm_propensity") is not None or "arm_propensity" in dataset.log.columns
    if "estimand" not in declared:
        declared["estimand"] = "arm" if by_arm or dataset.log["item"].nunique() == 1 else "exposure"
    if "target" not in declared:
        declared["target"] = "everyone" if declared["estimand"] == "arm" else "exposed"
    design = Design(**declared)
    if design.estimand == "exposure" and design.target == "everyone":
        raise InputError(
            "design: target everyone goes with estimand arm; expected exposed or uniform, as an item that one "
            "arm never exposes has no effect of exposure"
        )
    known = _covariates(dataset) if design.confounders else []
    for name in design.confounders:
        if name not in known:
            none = ["feature_... and the numbers of items and users, of which this log has none"]
            raise unknown("confounder of the design", name, known or none)
    return design


def _covariates(dataset: Dataset) -> list[str]:
    """Return the columns that an estimate reads: a confounder that it does not is held alike by nothing."""
    found = [name for name in map(str, dataset.log.columns) if name.startswith(FEATURE) or name == "position"]
    for key, table in (("user", dataset.users), ("item", dataset.items)):
        if table is not None:
            found += [str(name) for name in numbers_of(table.drop(columns=key)).columns]
            found += ["genre"] if key == "item" and "genre" in table.columns else []
    return found


def read_design(text: str) -> dict:
    """Return what a design file, or the same in a line, declares: arguments of `find_design`.

    The text is a path that ends in .yaml, .yml or .json, or declarations such as
    `confounders: [feature_preference], target: uniform`.

    Raises
    ------
    InputError
        Where that is no mapping of fields of `Design`.

    Examples
    --------
    >>> read_design("confounders: [feature_preference], unit: users")
    {'confounders': ('feature_preference',), 'unit': 'users'}
    """
    text = str(text).strip()
    where = text if text.endswith((".yaml", ".yml", ".json")) else "design"
    found = read_mapping(Path(text) if where == text else "{" + text + "}", where)
    valid = [field.name for field in fields(Design)]
    for name in found:
        if name not in valid:
            raise unknown("declaration", str(name), valid, where=where)
    if "confounders" in found:
        names = found["confounders"]
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{where}: confounders: expected a list of columns")
        found["confounders"] = tuple(names)
    return found

"""What a page says where the effect is not identified: what is possible, what is missing, and how to find out."""

import pandas as pd

from csrec_core.effect.answer import possible_range
from csrec_core.report.report import Report

#: Lines that log what identifies an effect; `{arm}` and `{baseline}` are filled in.
LOGGING = """\
import csv
import random

CHANCE = 0.5  # of {arm!r}; known, and never 0 or 1


def expose(user, pick):
    # pick(arm, user) returns an item and the chance with which it was drawn
    arm = {arm!r} if random.random() < CHANCE else {baseline!r}
    item, chance = pick(arm, user)
    return {{"user": user, "item": item, "source": arm, "propensity": chance, "arm_propensity": CHANCE}}


def write(rows, path):
    # rows as exposed, each with its decision, 0 or 1, and the number of the exposure as t
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
"""


def say_what_would_settle(report: Report, effect) -> None:
    """Write down what is possible, what is missing, how many random exposures would settle it, and how to log them."""
    judged, design, found = effect.identification, effect.design, effect.to_dict()
    if possible := possible_range(found):
        report.text(
            f"What this log leaves possible is {possible}: of the exposures by {design.arm} it tells what was "
            f"accepted, and of the same exposures by {design.baseline} nothing."
        )
    lines = [("missing", one) for one in judged.reasons]
    lines += [("would settle it", one) for one in judged.remedies]
    rows = f"{found['exposures']:,} exposures of {found['users']:,} users"
    caption = f"What is missing, and what would settle it ({rows})."
    report.table(pd.DataFrame(lines, columns=["what", "is"]), "settle", caption=caption)
    report.text(
        "These lines draw who chooses an item and log the chances, which is all that the effect needs."
    )
    report.code(LOGGING.format(arm=design.arm, baseline=design.baseline))

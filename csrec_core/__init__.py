"""Causal analysis of sequential recommendation: graph, models, treatment effect, report.

A trial of 400 customers, of whom every third buys with a mail, and every fifth without:

>>> import numpy as np, pandas as pd
>>> import csrec_core
>>> who, mail = np.arange(400), np.arange(400) % 2 == 1
>>> bought = np.where(mail, who % 3 == 0, who % 5 == 0).astype(int)
>>> frame = pd.DataFrame({"customer": who, "group": np.where(mail, "mail", "control"), "bought": bought})
>>> columns = {"user": "customer", "item": "*", "decision": "bought", "source": "group"}
>>> found = csrec_core.effect(frame, map=columns, arm_propensity=0.5)
>>> print(*found.summary().splitlines()[:2], sep="\\n")  # doctest: +ELLIPSIS
mail, against control, raises acceptance by 13.5 points [4..., 22...], from 20.0% to 33.5%.
Identified: mail and control were drawn with known chances.
"""

import importlib
import os

# Before torch loads OpenMP: waiting threads that spin make training many times slower on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

#: Public names and where they live; each is imported when it is first asked for.
PUBLIC = {
    "Dataset": "csrec_core.data.log",
    "Design": "csrec_core.effect.design",
    "Effect": "csrec_core.effect.result",
    "InputError": "csrec_core.errors",
    "check": "csrec_core.frames",
    "effect": "csrec_core.effect",  # the package itself, which can be called
    "estimate": "csrec_core.frames",
    "read": "csrec_core.frames",
}
__all__ = [*PUBLIC, "__version__"]


def __getattr__(name):
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(PUBLIC[name])
    return module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)


def __dir__():
    return sorted({*globals(), *PUBLIC})

"""Causal analysis of sequential recommendation: graph, models, treatment effect, report.

>>> import csrec_core
>>> found = csrec_core.effect(frame, map={"user": "customer_id", "item": "asin"})  # doctest: +SKIP
>>> found.summary(), found.plot(), found.to_dict()  # doctest: +SKIP
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
    "Effect": "csrec_core.effect.estimate",
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

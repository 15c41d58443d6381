"""The effect of who chose the item. The package is a function, too: `csrec_core.effect(frame, map=...)`."""

import sys
from types import ModuleType


class _Effect(ModuleType):
    """A package that can be called: the language reference has `__class__` of a module for that."""

    def __call__(self, log, **options):
        """Return the effect that a log holds (`csrec_core.frames.estimate`)."""
        from csrec_core.frames import estimate

        return estimate(log, **options)


sys.modules[__name__].__class__ = _Effect

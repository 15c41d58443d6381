"""The mean effect of recommending over a folder in parts, in bounded memory, on one process or many.

The estimand and the formulas are those of `csrec_core.effect.estimators` (`doubly_robust`, `filtered`): the
mean at the system's exposures, the self-chosen ones weighted by the odds of the regime, f~ corrected by its
residuals, intervals clustered by user. Each stage reads and writes a file a part (`stages`): what is told of
the tracks (`items`), the features of the sessions that are drawn to learn from (`features`), boosted trees
(`models`), scores of every row (`score`), and sums over users (`sums`), put together by `combine` in `run`.
"""

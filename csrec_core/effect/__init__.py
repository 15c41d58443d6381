"""The treatment effect of recommending: estimators, refutations, policies."""

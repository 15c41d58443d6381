"""The causal side: graphs, the rules of do-calculus, the theorem and its audit; no torch."""

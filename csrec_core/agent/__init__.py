"""Synthetic readers: an agent, simulated or a language model, answers for them about real books."""

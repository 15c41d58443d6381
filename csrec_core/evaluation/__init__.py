"""How well acceptance and next items are predicted, beside controls."""

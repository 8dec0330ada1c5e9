"""Entropy tables fitted to the codes of training data."""

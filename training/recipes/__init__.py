"""Training recipes: one file a model, read from top to bottom."""

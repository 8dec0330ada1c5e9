"""Training of the codec: data sources, losses, loops."""

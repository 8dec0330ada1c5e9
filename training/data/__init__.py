"""Training data: clips, sprite sheets, procedural heads, portraits."""

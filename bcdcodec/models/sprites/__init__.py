"""The small `sprites` model: one motion group, learned content tokens, no warp."""

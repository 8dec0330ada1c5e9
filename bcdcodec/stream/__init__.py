"""Live streams: frames to packets and back, with state on both sides (format-spec.md, section 19)."""

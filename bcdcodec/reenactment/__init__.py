"""One person's face in the motion of another."""

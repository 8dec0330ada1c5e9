"""Reenactment: one person's reference in the motion of another."""

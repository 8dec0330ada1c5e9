"""Measures of speed, memory, rate and quality."""

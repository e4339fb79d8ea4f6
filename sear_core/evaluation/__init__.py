"""Measuring both sides: safety and over-refusal, with and without attacks."""

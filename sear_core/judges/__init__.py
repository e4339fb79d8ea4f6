"""Judges of completions: refusal in three classes, harm, and what people said of the same rows."""

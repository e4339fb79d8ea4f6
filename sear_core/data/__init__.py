"""From source tables to prepared ones; the embedded corpus and its oracle."""

"""The supervised start: reasoning traces and their training."""

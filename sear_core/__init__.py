"""How: the method itself. Knows no Prefect, MLflow, DVC or Great Expectations; usable alone from a notebook."""

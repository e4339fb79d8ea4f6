"""What a stage does: one Prefect task each, which is an MLflow run, one core call and a typed handle."""

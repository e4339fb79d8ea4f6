"""When: the order of the stages, retries and schedules (Prefect flows), and the `sear` command."""

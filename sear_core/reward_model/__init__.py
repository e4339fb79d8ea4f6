"""The learnt rewards: harm (a causal process reward model) and helpfulness (Bradley-Terry)."""

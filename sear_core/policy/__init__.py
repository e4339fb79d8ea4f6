"""SEAR: two players in one chain of thought, with competing rewards."""

"""Baselines, performance and statistics: pure functions on numpy arrays. May import `core`."""

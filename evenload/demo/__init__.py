"""The demo: houses, the run, and the checks that decide its exit code."""

"""Measurements, each run as `python -m benchmarks.NAME`; README.md holds what they showed."""

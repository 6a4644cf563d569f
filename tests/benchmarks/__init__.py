"""Benchmarks on the real embedded engines with fsync on; README.md states method and results."""

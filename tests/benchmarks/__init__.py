"""Benchmarks on the real engines with fsync on; figures are ratios against raw engines in the same run."""

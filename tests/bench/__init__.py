"""Benchmarks: commands of their own (`python -m tests.bench.throughput`), never part of the test run.

Absolute figures drift from hour to hour on shared machines; the ratios within one run hold.
"""

"""Samples a driver with perf: hot functions, flame graphs, and the difference of two."""

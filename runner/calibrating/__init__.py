"""Measures how often the verdicts err, with builds that are slower by a known amount."""

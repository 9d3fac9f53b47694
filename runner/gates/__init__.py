"""Checks whether a milestone is reached: criteria as data, kinds of checks, what they measured."""

"""The history of runs: a database of them, lists, trends with change points."""

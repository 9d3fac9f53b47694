"""Compares two builds: reads and pairs samples, and answers each question with one of four words."""

"""Fuzzing of what reads other people's bytes: `python -m tools.fuzz` (make fuzz). The checks are pytest's as well."""

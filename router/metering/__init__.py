"""Counts what requests used, durably and once, and hands it to the store."""

"""Metrics and logs: they watch, and never steer."""

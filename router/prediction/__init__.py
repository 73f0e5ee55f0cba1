"""Estimators of latency, length, cost and energy; pure."""

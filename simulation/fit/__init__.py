"""Fits the constants of the physics prior to other people's measurements, and says how far off it is on others."""

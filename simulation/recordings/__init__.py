"""Recorded traffic of real services, replayed through the adapters: `python -m simulation.recordings DIRECTORY`."""

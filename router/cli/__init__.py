"""The command line: `inference-router`, or `python -m router`."""

"""Emulated hardware, on real wires and in real time; everything that leaves it says that it is emulated."""

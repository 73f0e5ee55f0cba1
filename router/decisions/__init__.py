"""What was decided, on disk, and decided anew: the log of decisions and its replay under a proposed change."""

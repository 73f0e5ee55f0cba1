"""The frame of a decision: filters remove, the objective scores in dollars, a picker chooses. Pure."""

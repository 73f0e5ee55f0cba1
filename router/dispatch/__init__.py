"""One request's life: decide, attempt, fail over, record."""

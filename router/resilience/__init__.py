"""Protection, one concern per file, with time passed in: circuit breaker, retry budget, admission, idempotency."""

"""What the wires of Amazon have in common: signatures, event streams, error codes. botocore does the first two."""

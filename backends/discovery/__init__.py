"""What serves at an address, so that it can be registered."""

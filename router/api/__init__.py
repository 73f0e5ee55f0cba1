"""The edges: they translate between a protocol and the domain, and decide nothing."""

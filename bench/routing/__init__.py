"""How well the router decides, on other people's measurements and traces: `make bench-routing`."""

"""The router in virtual time: other people's traces, measured speeds, other routers' rules, a bound on all."""

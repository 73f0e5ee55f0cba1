"""The composition root: the only package that names concrete classes and joins them to a running router."""

from router.app.run import START_HINTS, Ports, load_settings, run

__all__ = ["START_HINTS", "Ports", "load_settings", "run"]

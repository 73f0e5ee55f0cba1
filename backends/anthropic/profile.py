"""What may differ between servers that speak the Messages wire. The table of them is `profiles`."""

from __future__ import annotations

from dataclasses import dataclass

from backends.dialect import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Dialect):
    """One dialect.

    Attributes:
        path: where messages are created.
        version: of the API, named in every request.
        is_lenient: a local engine behind this wire takes what the vendor itself refuses: any temperature, blank stop
            sequences, sampling beside thinking, reasoning that nobody signed.
    """

    path: str = "/v1/messages"
    version: str = "2023-06-01"
    is_lenient: bool = False

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Sent with every request, probes included."""
        return ((b"anthropic-version", self.version.encode()),)

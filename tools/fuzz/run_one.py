"""One target under atheris, until its time is over: `python -m tools.fuzz.run_one NAME CORPUS [libFuzzer options]`.

A process of its own, since libFuzzer ends the process that it runs in. Our own modules are instrumented; what is
compiled (JSON, checksums) is not, and stays reachable because changes keep a stream's form.
"""

from __future__ import annotations

import random
import sys

import atheris

_PLAIN_SHARE = 0.3


def main() -> None:
    with atheris.instrument_imports(include=["backends"]):
        from tools.fuzz.targets import TARGETS  # noqa: PLC0415 - imported to be instrumented

    name, corpus, *options = sys.argv[1:]
    target = TARGETS[name]

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if len(data) < 2 or chance.random() < _PLAIN_SHARE:
            return bytes(atheris.Mutate(data, max_size))
        first = bytes([chance.randrange(256)]) if chance.random() < 0.1 else data[:1]
        return (first + target.change(data[1:], chance))[:max_size]

    atheris.Setup([sys.argv[0], *options, corpus], target.check, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""What all rows share: the copy of the sources that runs, folders, the length of a run, and who is told about it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.copies import ROOT, environment
from supervise.child import Child


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One run. `say` tells of progress; `sources` is what the routers are started from."""

    quick: bool
    folder: Path
    sources: Path
    say: Callable[[str], None]

    def pick(self, full: int, quick: int) -> int:
        """How much of something, by the length of the run."""
        return quick if self.quick else full

    def new_folder(self, name: str) -> Path:
        """An empty folder that is removed with the run."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def environment(self) -> dict[str, str]:
        """Ours without what would change a router, and with the copy in front of the working tree."""
        return environment(self.sources)

    @asynccontextmanager
    async def upstream(self) -> AsyncGenerator[str]:
        """A backend that costs next to nothing (`bench.upstream`), as host:port."""
        async with Child.start([sys.executable, "-m", "bench.upstream", "0"], name="upstream", cwd=ROOT) as child:

            async def serving() -> bool:
                return child.tail.isdigit()

            await child.wait_ready(serving, timeout_s=15.0)
            yield f"127.0.0.1:{child.tail}"

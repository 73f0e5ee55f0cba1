"""The demonstration, whole."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from simulation.demo_needs import NEEDS

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
async def test_the_demonstration_shows_every_need_and_cleans_up() -> None:
    """`python -m simulation.demo` serves every need over both faces, labels what is emulated, and leaves nothing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulation.demo"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(280):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode()
    assert process.returncode == 0, text
    for need in NEEDS:
        assert text.count(f". {need.title}") == 2
    assert "device-llamacpp on 2-core CPU," in text
    assert "4x NVIDIA H100 SXM 80GB (emulated)" in text
    assert "SLO_INFEASIBLE" in text
    assert "COST_CAP" in text
    assert "everything that was started is gone" in text

"""What people call accelerators, and the id that hardware.yaml has for each."""

from __future__ import annotations

import re
from typing import Final

# The first that is found in the name decides, so the more special one of two comes first. Names are compared in lower
# case without anything but letters and digits: "NVIDIA H100 80GB HBM3" is nvidiah10080gbhbm3.
NAMES: Final[tuple[tuple[str, str], ...]] = (
    (r"gb300", "gb300-nvl72"),
    (r"gb200", "gb200-nvl72"),
    (r"gb10(?!\d)|dgxspark", "dgx-spark"),
    (r"gh200", "gh200-96"),
    (r"b300", "b300-sxm-288"),
    (r"b200", "b200-sxm-180"),
    (r"b100", "b100-sxm-192"),
    (r"h200.*nvl", "h200-nvl-141"),
    (r"h200", "h200-sxm-141"),
    (r"h100.*nvl", "h100-nvl-94"),
    (r"h100.*pci", "h100-pcie-80"),
    (r"h100|h800", "h100-sxm-80"),
    (r"h20(?!\d)|h2096|h20141", "h20-96"),
    (r"a100.*pci", "a100-pcie-80"),
    (r"a100.*40g|a10040", "a100-sxm-40"),
    (r"a100|a800", "a100-sxm-80"),
    (r"rtxpro6000|pro6000", "rtx-pro-6000"),
    (r"6000ada", "rtx6000-ada"),
    (r"5000ada", "rtx5000-ada"),
    (r"4000ada", "rtx4000-ada"),
    (r"a6000", "a6000"),
    (r"a40(?!\d)|a4048", "a40"),
    (r"a30(?!\d)|a3024", "a30"),
    (r"a10g", "a10g"),
    (r"a10(?!\d)|a1024", "a10g"),
    (r"l40s", "l40s"),
    (r"l40(?!\d)|l4048", "l40"),
    (r"l4(?!\d)|l424", "l4"),
    (r"v100", "v100-sxm-32"),
    (r"teslat4|^t4|nvidiat4", "t4"),
    (r"5090", "rtx5090"),
    (r"5080", "rtx5080"),
    (r"4090", "rtx4090"),
    (r"4080", "rtx4080"),
    (r"4070ti", "rtx4070ti"),
    (r"3090", "rtx3090"),
    (r"3080ti", "rtx3080ti"),
    (r"3080", "rtx3080"),
    (r"3070", "rtx3070"),
    (r"mi355", "mi355x"),
    (r"mi350", "mi350x"),
    (r"mi325", "mi325x"),
    (r"mi300a", "mi300a"),
    (r"mi300", "mi300x"),
    (r"mi250", "mi250x"),
    (r"mi210", "mi210"),
    (r"mi100", "mi100"),
    (r"7900xtx", "rx7900xtx"),
    (r"ryzenaimax|strixhalo", "strix-halo"),
    (r"tpu.*v?7|ironwood|^v7x?(?!\d)", "tpu-v7"),
    (r"tpu.*v?6|trillium|^v6e", "tpu-v6e"),
    (r"tpu.*v?5p|^v5p", "tpu-v5p"),
    (r"tpu.*v?5|^v5e|^v5lite", "tpu-v5e"),
    (r"tpu.*v?4|^v4(?!\d)", "tpu-v4"),
    (r"gaudi3|hl325|hl338", "gaudi3"),
    (r"gaudi2|hl225", "gaudi2"),
    (r"inferentia2|^inf2|neuronv2", "inferentia2"),
    (r"trainium3|^trn3", "trainium3"),
    (r"trainium2|^trn2", "trainium2"),
    (r"trainium|^trn1", "trainium1"),
    (r"groq|lpu", "groq-lpu-v1"),
    (r"cerebras|wse3|^cs3", "cerebras-wse3"),
    (r"maia", "maia100"),
    (r"arcprob60|^b60", "arc-pro-b60"),
    (r"jetson.*thor", "jetson-thor"),
    (r"jetson.*orin", "jetson-orin"),
    (r"snapdragon8elite", "snapdragon-8-elite"),
    (r"snapdragon8gen3", "snapdragon-8-gen3"),
    (r"snapdragon|xelite", "snapdragon-x-elite"),
    *((rf"m{n}ultra", f"m{n}-ultra") for n in (3, 2, 1)),
    *((rf"m{n}{line}", f"m{n}-{line}") for n in (5, 4, 3, 2, 1) for line in ("max", "pro")),
    *((rf"(^|apple)m{n}(?!\d(?!\d?(gb|core)))", f"m{n}") for n in (5, 4, 3, 2, 1)),
    (r"hosted|serverless|^api$|^oci|dedicatedaicluster|largegeneric", "hosted"),
    (r"^(together|fireworks|bedrock|anyscale|replicate|deepinfra|novita|openai|anthropic|azure|vertex)", "hosted"),
    (r"cpu|xeon|epyc", "cpu-small"),
)
_COUNT = re.compile(
    r"(?:^\s*(\d{1,3})\s*[x*\u00d7]\s*(?=[a-z]))|(?:(?:[_\s-]x|(?<=\d)x|\s*[*\u00d7]\s*)(\d{1,3})\s*$)", re.IGNORECASE
)

# A slice of a TPU is named by its chips: "v6e-8" (those of v5p and v4 by their cores, so they say nothing here).
_SLICE = re.compile(r"v(?:5e|5litepod|6e)-((\d{1,3}))\s*$", re.IGNORECASE)


def accelerator(name: str) -> tuple[str, int | None] | None:
    """(Its id in hardware.yaml, how many the name itself says), or None for a name that stands for nothing known."""
    found = _COUNT.search(name) or _SLICE.search(name)
    count = int(found[1] or found[2]) if found else None
    rest = _COUNT.sub("", name) if found else name
    plain = re.sub(r"[^a-z0-9]", "", rest.lower())
    for pattern, known in NAMES:
        if re.search(pattern, plain):
            return known, count
    return None

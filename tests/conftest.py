"""What all tests share: real data beside the checkout, and tables as wide as in a pipe."""

from __future__ import annotations

import os
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if "CL_BENCH_DATA" not in os.environ and BESIDE.is_dir():
    os.environ["CL_BENCH_DATA"] = str(BESIDE)

# A runner may say how wide its own terminal is; what commands print must not depend on it.
os.environ["COLUMNS"] = "200"

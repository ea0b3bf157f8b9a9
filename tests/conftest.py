"""What all tests share: real data beside the checkout where no other folder was named."""

from __future__ import annotations

import os
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if "CL_BENCH_DATA" not in os.environ and BESIDE.is_dir():
    os.environ["CL_BENCH_DATA"] = str(BESIDE)

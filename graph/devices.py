"""Which GPUs this machine has for trainings, under the names that a trial is given them by."""

from __future__ import annotations

import os
import re
from pathlib import Path

DEVICES = Path("/dev")


def visible_devices() -> list[str]:
    """Return the GPUs that trainings may be given, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return sorted(
        (path.name.removeprefix("nvidia") for path in DEVICES.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)),
        key=int,
    )

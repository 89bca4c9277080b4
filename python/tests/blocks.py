"""The Python of a document."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def python_blocks(document: str) -> list[str]:
    """What stands between ```python and ```."""
    return re.findall(r"(?ms)^```python\n(.*?)^```$", (ROOT / document).read_text())

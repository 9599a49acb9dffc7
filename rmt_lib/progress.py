"""Progress bars for work that lasts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def progress(iterable: Iterable[Any] | None = None, *, total: int, desc: str, unit: str) -> tqdm:
    """A bar that appears after a second and leaves nothing behind; none where TQDM_DISABLE is set.

    tqdm's notebook bar does not look at that variable, and a page without a kernel would keep a dead widget.
    """
    disable = bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(iterable, total=total, desc=desc, unit=unit, delay=1, leave=False, disable=disable)

"""How much of what a seed or a place decides is tried: some at every turn, all of it by `make test-long`."""

from __future__ import annotations

import os

IS_THOROUGH = bool(os.environ.get("FREEHOLD_THOROUGH"))

SEEDS = range(3 if IS_THOROUGH else 1)
# Of the places at which something can be cut off, every so many.
PLACES_STEP = 1 if IS_THOROUGH else 3

"""How much of what a seed, a place or a pair decides is tried: some at every turn, all of it by `make test-long`."""

from __future__ import annotations

import os

IS_THOROUGH = bool(os.environ.get("FREEHOLD_THOROUGH"))

SEEDS = range(3 if IS_THOROUGH else 1)
# Of the places at which something can be cut off, every so many.
PLACES_STEP = 1 if IS_THOROUGH else 3
# A test of a whole path runs on one product at every turn. What such a path needs of a product is held on both of them by
# the tests of its parts: outbox, ledger, lot, copies, rows.
ON_POSTGRES = ["postgres"] + IS_THOROUGH * ["mongo"]
ON_MONGO = ["mongo"] + IS_THOROUGH * ["postgres"]
# Owner and subscriber. Both ways between the products are tried at every turn, so that each product is on either side.
PAIRS = [("postgres", "mongo"), ("mongo", "postgres")] + IS_THOROUGH * [("postgres", "postgres"), ("mongo", "mongo")]

"""The owner and the subscriber of the pair as a system, for commands that are told of it: names alone matter there."""

from __future__ import annotations

from freehold.service import System
from tests.seams.pair import owner, subscriber

system = System(name="shop", services=[owner("postgres"), subscriber("postgres")])

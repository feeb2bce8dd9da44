"""The audited owner and subscriber as a system, for commands that ask for one."""

from freehold.service import System
from tests.seams.audited import owner, subscriber

system = System(name="audited", services=[owner("postgres"), subscriber("mongo")])

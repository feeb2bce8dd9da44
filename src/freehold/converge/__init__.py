"""Copies converge to their owner: compared with what it has, repaired, made anew.

Nobody reads another's store: an owner answers for its own entities over internal routes (`owner`), and a reader asks it
(`source`). The comparison is decided without I/O (`canonical`, `judge`); `audit` brings together what it needs.
"""

"""Freehold: every service owns its data outright; all that leaves it is a fact on a log."""

"""Pytest fixtures: the same real servers for your own services, and a clean database each."""

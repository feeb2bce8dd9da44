"""Scenes as SVG: themes, escaping, shapes."""

"""The one door of the system."""

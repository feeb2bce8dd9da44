"""Hold a diagram against the traces of the system that it draws."""

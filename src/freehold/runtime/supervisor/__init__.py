"""Start a system, keep it running and stop it in order; what another command needs to know of it lies in a state file."""

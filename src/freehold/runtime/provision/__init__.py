"""What a service may reach: its own database, role, user, topic rights, and nothing else."""

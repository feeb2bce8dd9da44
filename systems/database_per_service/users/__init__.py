"""Who the customers are: the service `users`, which owns its PostgreSQL database."""

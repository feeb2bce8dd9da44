"""What customers ordered: the service `orders`, which owns its MongoDB database and keeps copies of the customers."""

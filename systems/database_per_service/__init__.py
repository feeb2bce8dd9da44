"""The database-per-service system: users on PostgreSQL, orders on MongoDB, one gateway, and events between them."""

"""Real PostgreSQL, MongoDB and Kafka, started from packages, on loopback, with generated credentials."""

"""One process from one declaration: embedded servers, supervisor, configuration, health, telemetry."""

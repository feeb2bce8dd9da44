-- Raised by the relay, and then told to the topic: a store that comes back with less than its topic knows went back in time.
ALTER TABLE freehold.store ADD COLUMN tally bigint NOT NULL DEFAULT 0;

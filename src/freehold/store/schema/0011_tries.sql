-- When a parked event was tried last, and the class of each error: an array in MessagePack, here an empty one.
ALTER TABLE freehold.parked ADD COLUMN tries bytea NOT NULL DEFAULT '\x90';

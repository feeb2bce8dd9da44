-- While a source's copies are replaced nobody applies its events; it ends by itself if whoever asked for it is killed.
CREATE TABLE freehold.holds (
    source     text        PRIMARY KEY,
    token      text        NOT NULL,
    expires_at timestamptz NOT NULL
);

-- What is being rebuilt of a source's copies, and how far that is: one work at a time, the latest run of it.
CREATE TABLE freehold.rebuilds (
    source text   PRIMARY KEY,
    run    bigint NOT NULL,
    work   jsonb  NOT NULL
);

-- While all entities are told again under a new epoch: by kind, how far that is.
ALTER TABLE freehold.store ADD COLUMN told jsonb;

-- The replicas of a source that have been there from its beginning, or were built since: the others hold only what changed.
CREATE TABLE freehold.seeded (
    source   text  PRIMARY KEY,
    replicas jsonb NOT NULL
);

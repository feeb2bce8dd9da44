-- When each replica is to be compared with its owner again, and what the last time found.
CREATE TABLE freehold.audits (
    replica    text        PRIMARY KEY,
    due_at     timestamptz NOT NULL,
    checked_at timestamptz,
    row_count  bigint      NOT NULL DEFAULT 0,
    differing  bigint      NOT NULL DEFAULT 0,
    error      text        NOT NULL DEFAULT ''
);

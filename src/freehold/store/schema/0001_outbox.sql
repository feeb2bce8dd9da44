-- What a transaction publishes, from its commit until the topic has acknowledged it. Never updated.
-- The primary key is also the order of a sweep: per entity, in version order.
CREATE TABLE freehold.outbox (
    key        text        NOT NULL COLLATE "C",
    version    bigint      NOT NULL,
    index      integer     NOT NULL,
    type       text        NOT NULL,
    headers    bytea       NOT NULL,
    data       bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (key, version, index)
) WITH (
    -- Small and hot: a row lives for milliseconds. Vacuum by count, not by share of the table, and without pauses.
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_threshold = 50000,
    autovacuum_analyze_scale_factor = 0
);

-- Data is JSON of a few hundred bytes: compressing it costs more than it saves.
ALTER TABLE freehold.outbox ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE freehold.outbox ALTER COLUMN headers SET STORAGE EXTERNAL;

-- Deletions are the relay's own and are nobody's news.
CREATE PUBLICATION freehold_outbox
    FOR TABLE freehold.outbox (key, version, index, type, headers, data)
    WITH (publish = 'insert');

-- The store's epoch: raised only when its history was rewritten (a restored backup).
CREATE TABLE freehold.store (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    bigint  NOT NULL DEFAULT 1
);
INSERT INTO freehold.store DEFAULT VALUES;

-- Who may do what only one may do, by the database's clock. The holder's connection is named,
-- so that a successor of a killed process need not wait until the lease has run out.
CREATE TABLE freehold.lease (
    name          text        PRIMARY KEY,
    owner         text        NOT NULL,
    epoch         bigint      NOT NULL,
    expires_at    timestamptz NOT NULL,
    backend_pid   integer     NOT NULL,
    backend_start timestamptz NOT NULL
) WITH (fillfactor = 50);

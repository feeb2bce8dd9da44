-- Up to where this service has applied a source's topic, per partition. A topic made anew has another id.
CREATE TABLE freehold.positions (
    source      text    NOT NULL,
    partition   integer NOT NULL,
    topic_id    text    NOT NULL,
    owner_epoch bigint  NOT NULL,
    next_offset bigint,
    PRIMARY KEY (source, partition)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0
);

-- Up to which place in each entity's history handlers have taken effect.
CREATE TABLE freehold.applied (
    source  text    NOT NULL,
    key     text    NOT NULL COLLATE "C",
    epoch   bigint  NOT NULL,
    version bigint  NOT NULL,
    index   integer NOT NULL,
    PRIMARY KEY (source, key)
) WITH (fillfactor = 80);

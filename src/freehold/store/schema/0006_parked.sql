-- Events that could not be applied, and those of their key that wait behind them: the raw record, and why it is here.
CREATE TABLE freehold.parked (
    source          text        NOT NULL COLLATE "C",
    topic_id        text        NOT NULL COLLATE "C",
    partition       integer     NOT NULL,
    offset_         bigint      NOT NULL,
    topic           text        NOT NULL,
    kafka_key       bytea,
    timestamp_ms    bigint      NOT NULL,
    headers         bytea       NOT NULL,
    value           bytea,
    type            text        NOT NULL,
    event_id        text        NOT NULL,
    epoch           bigint,
    version         bigint,
    index           bigint,
    for_handlers    boolean     NOT NULL,
    state           text        NOT NULL,
    error_type      text        NOT NULL,
    error           text        NOT NULL,
    traceback       text        NOT NULL,
    attempts        integer     NOT NULL,
    replays         integer     NOT NULL,
    parked_at       timestamptz NOT NULL,
    first_failed_at timestamptz,
    last_failed_at  timestamptz,
    retry_at        timestamptz,
    edited          bytea,
    intent          text,
    is_told         boolean     NOT NULL,
    revision        bigint      NOT NULL,
    PRIMARY KEY (source, topic_id, partition, offset_)
);

CREATE INDEX parked_by_key ON freehold.parked (source, topic_id, partition, kafka_key, offset_);
CREATE INDEX parked_asked ON freehold.parked (source, partition, offset_) WHERE intent IS NOT NULL;

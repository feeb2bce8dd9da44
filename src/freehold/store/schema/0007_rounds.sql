-- What an operator chose of the parked events at one moment, and what became of each; nothing of their data.
CREATE TABLE freehold.rounds (
    id               text PRIMARY KEY COLLATE "C",
    intent           text        NOT NULL,
    asked_by         text        NOT NULL,
    at               timestamptz NOT NULL,
    even_quarantined boolean     NOT NULL,
    is_confirmed     boolean     NOT NULL DEFAULT false
);

CREATE TABLE freehold.chosen (
    round     text    NOT NULL COLLATE "C" REFERENCES freehold.rounds ON DELETE CASCADE,
    source    text    NOT NULL COLLATE "C",
    topic_id  text    NOT NULL COLLATE "C",
    partition integer NOT NULL,
    offset_   bigint  NOT NULL,
    type      text    NOT NULL,
    event_id  text    NOT NULL,
    replays   integer NOT NULL,
    asked_at  timestamptz,
    outcome   text,
    PRIMARY KEY (round, source, topic_id, partition, offset_)
);

CREATE INDEX chosen_by_event ON freehold.chosen (source, topic_id, partition, offset_);

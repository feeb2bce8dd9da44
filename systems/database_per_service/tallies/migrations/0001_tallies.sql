-- One row for each event of a user: what the handler was called with, in the order in which it took effect.
CREATE TABLE handled (
    number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text   NOT NULL,
    -- Nothing of the person: the same name gives the same trace, and no trace gives the name.
    trace   text   NOT NULL
);
CREATE INDEX handled_of_user ON handled (user_id);

CREATE TABLE tallies (
    id      text   PRIMARY KEY,
    version bigint NOT NULL
);

-- The user whom a tally is of, as their owner tells it: a copy that Freehold lets follow.
ALTER TABLE tallies
    ADD COLUMN person_id      text,
    ADD COLUMN person_epoch   bigint,
    ADD COLUMN person_version bigint,
    ADD COLUMN person_index   integer,
    ADD COLUMN person_deleted boolean,
    ADD COLUMN person_name    text;

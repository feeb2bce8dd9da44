CREATE TABLE letters (
    id         text PRIMARY KEY,
    to_id      text NOT NULL,
    to_name    text,
    to_town    text,
    to_epoch   bigint,
    to_version bigint,
    to_index   integer,
    to_deleted boolean
);

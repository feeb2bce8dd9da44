CREATE TABLE people (
    id      text PRIMARY KEY,
    name    text NOT NULL,
    town    text NOT NULL,
    version bigint NOT NULL,
    is_gone boolean NOT NULL
);

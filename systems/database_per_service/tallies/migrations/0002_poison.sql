-- Users whose events the handler cannot bear for a while: a drill puts them here and takes them away again.
CREATE TABLE poison (
    user_id text PRIMARY KEY,
    how     text NOT NULL
);

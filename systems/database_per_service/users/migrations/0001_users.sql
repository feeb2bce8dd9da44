-- A deleted user keeps its id and version for ever, so that no copy can bring it back, and nothing of the person.
CREATE TABLE users (
    id         uuid PRIMARY KEY,
    name       text,
    email      text,
    version    bigint NOT NULL DEFAULT 1 CHECK (version >= 1),
    deleted_at timestamptz,
    CONSTRAINT users_person CHECK ((deleted_at IS NULL) = (name IS NOT NULL AND email IS NOT NULL)),
    CONSTRAINT users_erased CHECK (deleted_at IS NULL OR (name IS NULL AND email IS NULL))
) WITH (fillfactor = 80); -- Room for new versions of a row in its own page: a new name then touches no index.

-- Nobody has two addresses that differ in case only. The address itself is kept as it was written.
CREATE UNIQUE INDEX users_email ON users (lower(email));

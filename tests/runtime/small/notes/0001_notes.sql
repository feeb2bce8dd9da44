CREATE TABLE notes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), text text NOT NULL, version bigint NOT NULL DEFAULT 1);

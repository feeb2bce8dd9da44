CREATE TABLE users (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    email      text,
    credit     bigint,
    score      double precision NOT NULL,
    joined_at  timestamptz NOT NULL,
    tags       jsonb NOT NULL,
    version    bigint NOT NULL,
    deleted_at timestamptz
);

CREATE TABLE orders (
    id                 bigint PRIMARY KEY,
    note               text,
    customer_id        text,
    customer_name      text,
    customer_email     text,
    customer_credit    bigint,
    customer_score     double precision,
    customer_joined_at timestamptz,
    customer_tags      jsonb,
    customer_epoch     bigint,
    customer_version   bigint,
    customer_index     integer,
    customer_deleted   boolean
);

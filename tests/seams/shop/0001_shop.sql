CREATE TABLE users (
    id      text PRIMARY KEY,
    name    text NOT NULL,
    version bigint NOT NULL
);

CREATE TABLE orders (
    id                text PRIMARY KEY,
    customer_id       text NOT NULL,
    customer_name     text,
    customer_email    text,
    customer_credit   bigint,
    customer_tags     jsonb,
    customer_epoch    bigint,
    customer_version  bigint,
    customer_index    integer,
    customer_deleted  boolean
);

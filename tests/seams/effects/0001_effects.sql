-- What the handlers of the consumer's tests have done; without a key, so that doing it twice is seen.
CREATE TABLE effects (place bigint GENERATED ALWAYS AS IDENTITY, id text NOT NULL, version bigint NOT NULL);

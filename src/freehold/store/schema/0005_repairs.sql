-- The repair number of an event that only tells again what its entity is; an index has 31 bits, and begins at 1,000,000.
CREATE SEQUENCE freehold.repairs MAXVALUE 2146000000 CYCLE;

-- Name of the process that claimed the partition: who takes over ends what a stopped owner left open.
ALTER TABLE freehold.positions ADD COLUMN owner text;

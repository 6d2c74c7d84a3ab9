-- Raised by each update, so that a row kept in memory can be compared with this one.
ALTER TABLE authorizations ADD COLUMN revision int4 NOT NULL DEFAULT 0;

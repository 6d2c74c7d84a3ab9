-- Raised by each update, so that a row kept in memory can be compared with this one.
ALTER TABLE stock ADD COLUMN revision int4 NOT NULL DEFAULT 0;
ALTER TABLE reservations ADD COLUMN revision int4 NOT NULL DEFAULT 0;

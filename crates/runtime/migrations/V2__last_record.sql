-- A digest of the record before next_offset: whoever takes the partition over reads
-- that record again, and so knows a topic that was deleted and made anew.
ALTER TABLE progress ADD COLUMN last_record int8;

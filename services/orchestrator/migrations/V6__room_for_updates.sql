-- All sagas of a page are updated by the same few batches, and grow: two versions of each
-- and the growth have to fit. An update that finds no room moves its row to another page,
-- with an entry in each index and a whole copy in the write-ahead log.
ALTER TABLE sagas SET (fillfactor = 40);

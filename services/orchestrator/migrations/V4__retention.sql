-- When a checkout ended; null while it has not. Ended sagas are removed after a time.
ALTER TABLE sagas ADD COLUMN ended_at timestamptz;

-- Sagas end in about the order of their rows, so a summary of the pages is enough. It
-- costs an update next to nothing: heap-only updates stay that.
CREATE INDEX sagas_by_end ON sagas USING brin (ended_at) WITH (pages_per_range = 32, autosummarize = on);

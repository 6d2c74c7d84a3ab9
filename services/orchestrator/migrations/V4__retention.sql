-- When a checkout ended; null while it has not. Ended sagas are removed after a time.
ALTER TABLE sagas ADD COLUMN ended_at timestamptz;

CREATE INDEX sagas_by_end ON sagas (ended_at) WHERE ended_at IS NOT NULL;

-- One row a consumed partition: how far this service has read it (inbox), what
-- it has yet to see acknowledged by Kafka (outbox), and who may move it (fence).
CREATE TABLE progress (
    topic       text        NOT NULL,
    partition   int4        NOT NULL,
    -- Raised by each new owner; a batch of a former owner is dropped.
    epoch       int8        NOT NULL DEFAULT 1,
    -- Raised by each batch, so that a batch whose commit was in doubt can be told
    -- from one that was rolled back.
    revision    int8        NOT NULL DEFAULT 0,
    -- The next record to read; null until the first batch of records.
    next_offset int8,
    -- The number of the last message for a public topic. What of them is published
    -- is said by the metadata of the group's committed offset.
    public_sequence int8    NOT NULL DEFAULT 0,
    -- Messages of committed batches that are not known to be on Kafka.
    outputs     bytea       NOT NULL DEFAULT '',
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The bytes live for milliseconds: compressing them costs more than it saves.
ALTER TABLE progress ALTER COLUMN outputs SET STORAGE EXTERNAL;

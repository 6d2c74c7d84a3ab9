-- One row a cart: the saga of its current checkout, and what is remembered of earlier
-- ones.
CREATE TABLE sagas (
    cart_id        uuid        PRIMARY KEY,
    -- What is checked out. Written when an attempt begins, and not touched after that.
    cart           json        NOT NULL,
    -- How far it is. All that changes is here.
    progress       json        NOT NULL,
    -- Parts of progress, for whoever reads the table. Written beside it, and not
    -- generated from it: that would read the text again for each of them.
    state          text        NOT NULL,
    step           text,
    -- The partition whose owner fires the timer: the one that the attempt's request
    -- came from.
    home_topic     text        NOT NULL,
    home_partition int4        NOT NULL,
    -- The trace of the attempt's request, which its timers continue.
    traceparent    text        NOT NULL,
    -- Not later than the saga's deadline. On the straight path it stays where it was
    -- first set, so that updates leave the index alone; a timer that fires early sets it
    -- anew. Null when the checkout has ended.
    wake_at        timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- The sagas that have not ended.
CREATE INDEX sagas_by_wake_at ON sagas (home_partition, wake_at)
    WHERE wake_at IS NOT NULL;

-- Every transition that changed a saga, and every operator's input to one: what
-- happened, why, and by what it was caused. Written in the transaction that moves the
-- saga, never changed, purged after a time.
CREATE TABLE saga_transitions (
    cart_id       uuid        NOT NULL,
    checkout_id   uuid        NOT NULL,
    at            timestamptz NOT NULL,
    -- What happened, and its step or reason; the labels of the metric.
    outcome       text        NOT NULL,
    reason        text        NOT NULL,
    -- Where the saga stood after it.
    state         text        NOT NULL,
    step          text,
    tries         int4,
    -- The record that caused it; null where its timer did.
    record_type   text,
    topic         text,
    partition     int4,
    record_offset int8,
    -- Who asked for it and why, where an operator did.
    operator      text,
    trace_id      uuid        NOT NULL
);

-- One cart's history. In the order of writing, so that the newest page stays hot.
CREATE INDEX saga_transitions_by_cart ON saga_transitions (cart_id, at);

-- For purging. A tree and no summary of pages (BRIN): once rows take the places of those
-- that were removed, times do not follow the order of the pages, and a summary names
-- nearly all of them. It grows at its right end only, and all transitions of a batch have
-- one time, and so one entry.
CREATE INDEX saga_transitions_by_time ON saga_transitions (at);

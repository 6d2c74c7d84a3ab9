-- Refused and cancelled orders are removed after a time; they end in about the order of
-- their rows.
CREATE INDEX orders_by_end ON orders USING brin (answered_at, cancelled_at)
    WITH (pages_per_range = 32, autosummarize = on);

-- Ended reservations are removed after a time; they end in about the order of their rows.
CREATE INDEX reservations_by_end ON reservations USING brin (answered_at, released_at)
    WITH (pages_per_range = 32, autosummarize = on);

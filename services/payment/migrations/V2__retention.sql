-- Ended authorizations are removed after a time; they end in about the order of their rows.
CREATE INDEX authorizations_by_end ON authorizations USING brin (declined_at, voided_at)
    WITH (pages_per_range = 32, autosummarize = on);

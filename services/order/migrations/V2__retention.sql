-- What may be removed after a time, by when it ended: cancelled and refused. Recorded
-- orders stay, however old, and are not in this index.
CREATE INDEX orders_by_end ON orders ((COALESCE(cancelled_at, answered_at)))
    WHERE state <> 'RECORDED';

-- What may be removed after a time, by when it ended: released and refused. Live ones
-- stay, however old, and are not in this index.
CREATE INDEX reservations_by_end ON reservations ((COALESCE(released_at, answered_at)))
    WHERE state <> 'RESERVED';

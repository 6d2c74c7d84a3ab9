-- What may be removed after a time, by when it ended: declined and voided. Money that is
-- held stays, however old, and is not in this index.
CREATE INDEX authorizations_by_end ON authorizations ((COALESCE(voided_at, declined_at)))
    WHERE state IN ('DECLINED', 'VOIDED');

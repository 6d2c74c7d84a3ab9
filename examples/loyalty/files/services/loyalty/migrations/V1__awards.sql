-- One row a checkout that the loyalty service has heard of: the answer given to its award and
-- to its revocation. A row that has only a revocation refuses the award when it comes.
CREATE TABLE awards (
    checkout_id       uuid        PRIMARY KEY,
    cart_id           uuid        NOT NULL,
    state             text        NOT NULL CHECK (state IN ('AWARDED', 'REFUSED', 'REVOKED')),
    -- The award and its answer: either points or a reason why not.
    award_command_id  uuid,
    answered_at       timestamptz,
    customer_id       uuid,
    points            int8        CHECK (points >= 0),
    refuse_reason     text,
    -- The revocation and its answer.
    revoke_command_id uuid,
    revoked_at        timestamptz,
    CHECK (num_nonnulls(award_command_id, revoke_command_id) > 0),
    CHECK (num_nonnulls(award_command_id, answered_at, customer_id) IN (0, 3)),
    CHECK (num_nonnulls(points, refuse_reason) = num_nonnulls(award_command_id)),
    CHECK (num_nonnulls(revoke_command_id, revoked_at) IN (0, 2)),
    CHECK (state <> 'AWARDED' OR points IS NOT NULL),
    CHECK ((state = 'REVOKED') = (revoke_command_id IS NOT NULL))
) WITH (fillfactor = 90);

-- What may be removed after a time, by when it ended. Awards that stand are not in this index.
CREATE INDEX awards_by_end ON awards ((COALESCE(revoked_at, answered_at)))
    WHERE state <> 'AWARDED';

-- The points of a customer.
CREATE INDEX awards_of_a_customer ON awards (customer_id) WHERE state = 'AWARDED';

-- What the audit, and whoever explains a cart, asks of a participant.
CREATE VIEW holdings AS
SELECT checkout_id, cart_id, state, state = 'AWARDED' AS held FROM awards;

-- Stock by product. on_hand says what exists and is set from outside; reserved says
-- what live reservations hold. on_hand may be set below reserved (goods are lost,
-- counts are corrected): then nothing is available until reservations are released.
CREATE TABLE stock (
    product_id        text        PRIMARY KEY,
    on_hand           int8        NOT NULL CHECK (on_hand >= 0),
    reserved          int8        NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    -- The latest command that set on_hand, and what was answered to it.
    set_command_id    uuid        NOT NULL,
    reserved_when_set int8        NOT NULL,
    set_at            timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- One row a checkout that inventory has heard of: the answer given to its reserve and
-- to its release. A row that has only a release refuses the reserve when it comes.
CREATE TABLE reservations (
    checkout_id        uuid        PRIMARY KEY,
    cart_id            uuid        NOT NULL,
    state              text        NOT NULL CHECK (state IN ('RESERVED', 'UNAVAILABLE', 'RELEASED')),
    -- The reserve and its answer: either reservation_id or unavailable_items.
    reserve_command_id uuid,
    answered_at        timestamptz,
    reservation_id     uuid,
    expires_at         timestamptz,
    unavailable_items  jsonb,
    -- The release and its answer.
    release_command_id uuid,
    release_reason     text,
    released_at        timestamptz,
    -- The partition whose owner fires the timer, and the time of the timer: null when
    -- there is none.
    home_topic         text        NOT NULL,
    home_partition     int4        NOT NULL,
    -- The trace of the command that made the row, which the timer continues.
    traceparent        text        NOT NULL,
    wake_at            timestamptz,
    CHECK (num_nonnulls(reserve_command_id, release_command_id) > 0),
    CHECK ((reserve_command_id IS NULL) = (answered_at IS NULL)),
    CHECK (num_nonnulls(reservation_id, unavailable_items) = num_nonnulls(reserve_command_id)),
    CHECK (state <> 'RESERVED' OR reservation_id IS NOT NULL),
    CHECK ((state = 'RELEASED') = (release_command_id IS NOT NULL)),
    CHECK (num_nonnulls(release_command_id, release_reason, released_at) IN (0, 3))
) WITH (fillfactor = 80);

CREATE INDEX reservations_by_cart ON reservations (cart_id);
CREATE INDEX reservations_by_wake_at ON reservations (home_partition, wake_at)
    WHERE wake_at IS NOT NULL;

-- What a reservation holds, or held until it was released. Written in the transaction
-- that writes the reservation, and never changed; a foreign key would only cost.
CREATE TABLE reservation_items (
    checkout_id uuid NOT NULL,
    line        int4 NOT NULL,
    product_id  text NOT NULL,
    quantity    int4 NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (checkout_id, line)
);

-- One row a checkout: the hold on the customer's money, or that there is none.
CREATE TABLE authorizations (
    checkout_id          uuid PRIMARY KEY,
    cart_id              uuid        NOT NULL,
    customer_id          uuid,
    -- The commands seen; each is also the idempotency key of its gateway call.
    authorize_command_id uuid,
    void_command_id      uuid,

    state                text        NOT NULL
        CHECK (state IN ('REQUESTED', 'AUTHORIZED', 'DECLINED', 'VOIDING', 'VOIDED')),
    -- A void came while the authorization was out; it is carried out next.
    void_requested       boolean     NOT NULL DEFAULT false,

    -- What to hold, in minor units of the currency; null where a void came
    -- first. A currency that was no ISO 4217 code is kept as XXX.
    amount               int8,
    currency             text CHECK (length(currency) = 3),

    -- Set once money is held, and kept after it is given up.
    authorization_id     uuid,
    -- The gateway's own name of the hold; null where nothing had to be held.
    gateway_reference    text,
    -- Set once a refusal was sent: it is repeated word for word.
    decline_reason       text,

    -- How often the gateway was asked in the present state.
    attempts             int4        NOT NULL DEFAULT 0,

    requested_at         timestamptz NOT NULL,
    authorized_at        timestamptz,
    declined_at          timestamptz,
    voided_at            timestamptz,

    -- The partition that fires this row's timer, and when; null while no call is
    -- out. Settling a row clears it, which costs that update its place on the
    -- page (it is not heap-only), but leaves the timers' index as small as the
    -- number of calls that are out.
    home_topic           text        NOT NULL,
    home_partition       int4        NOT NULL,
    -- The trace of the command that made the row, which the timers continue.
    traceparent          text        NOT NULL,
    wake_at              timestamptz,

    CHECK ((wake_at IS NOT NULL) = (state IN ('REQUESTED', 'VOIDING'))),
    CHECK (NOT void_requested OR state = 'REQUESTED'),
    CHECK ((decline_reason IS NULL) = (declined_at IS NULL))
);

-- Operators ask by cart.
CREATE INDEX authorizations_by_cart ON authorizations (cart_id);

-- The timers of a partition, earliest first.
CREATE INDEX authorizations_due ON authorizations (home_partition, wake_at)
    WHERE wake_at IS NOT NULL;

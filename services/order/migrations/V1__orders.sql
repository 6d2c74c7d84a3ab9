-- One row a checkout that the order service has heard of: the answer given to its
-- creation and to its cancellation. A row that has only a cancellation refuses the
-- creation when it comes.
CREATE TABLE orders (
    checkout_id              uuid        PRIMARY KEY,
    cart_id                  uuid        NOT NULL,
    state                    text        NOT NULL CHECK (state IN ('RECORDED', 'REJECTED', 'CANCELLED')),
    -- The creation and its answer: either an order or a reason why not.
    create_command_id        uuid,
    answered_at              timestamptz,
    reject_reason            text,
    -- The order.
    order_id                 uuid        UNIQUE,
    customer_id              uuid,
    total                    int8        CHECK (total >= 0),
    currency                 text        CHECK (length(currency) = 3),
    payment_authorization_id uuid,
    -- The cancellation and its answer.
    cancel_command_id        uuid,
    cancel_reason            text,
    cancelled_at             timestamptz,
    CHECK (num_nonnulls(create_command_id, cancel_command_id) > 0),
    CHECK ((create_command_id IS NULL) = (answered_at IS NULL)),
    CHECK (num_nonnulls(order_id, reject_reason) = num_nonnulls(create_command_id)),
    CHECK (num_nonnulls(order_id, customer_id, total, currency, payment_authorization_id) IN (0, 5)),
    CHECK (state <> 'RECORDED' OR order_id IS NOT NULL),
    CHECK ((state = 'CANCELLED') = (cancel_command_id IS NOT NULL)),
    CHECK (num_nonnulls(cancel_command_id, cancel_reason, cancelled_at) IN (0, 3))
) WITH (fillfactor = 90);

-- The last fence: whatever goes wrong elsewhere, a cart has at most one live order.
CREATE UNIQUE INDEX orders_one_live_order_of_a_cart ON orders (cart_id) WHERE state = 'RECORDED';

-- Written in the transaction that writes the order, and never changed; a foreign key
-- would only cost.
CREATE TABLE order_items (
    order_id   uuid NOT NULL,
    line       int4 NOT NULL,
    product_id text NOT NULL,
    quantity   int4 NOT NULL CHECK (quantity > 0),
    unit_price int8 NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, line)
);

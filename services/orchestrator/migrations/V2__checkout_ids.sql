-- A checkout belongs to one cart: two carts with one event id could not be told apart
-- by whoever does something for them. The column follows the attempt and does not change
-- while it runs, so that its updates leave the index alone.
ALTER TABLE sagas ADD COLUMN checkout_id uuid NOT NULL;
CREATE UNIQUE INDEX sagas_by_checkout ON sagas (checkout_id);

-- The sagas that an operator gave up: somebody has still to settle them, so they are never
-- removed, and are looked for among all that have ended. The straight path changes the
-- state only when it ends, where the index of timers changes too: its updates stay as cheap
-- as they are.
CREATE INDEX sagas_abandoned ON sagas (cart_id) WHERE state = 'ABANDONED';

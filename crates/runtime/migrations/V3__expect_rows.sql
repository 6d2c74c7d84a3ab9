-- Ends a transaction that did not find what it relies on: a statement that compares rows
-- says how many it found. SQLSTATE CS001 is this function's alone.
CREATE FUNCTION expect_rows(present int8, expected int8) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    IF present <> expected THEN
        RAISE EXCEPTION 'of % rows that a batch relies on, % are as they were', expected, present
            USING ERRCODE = 'CS001';
    END IF;
END $$;

-- Each authorization is settled by an update soon after it was made. On the same page that
-- writes only what has changed to the write-ahead log; without room there it copies the row.
ALTER TABLE authorizations SET (fillfactor = 45);

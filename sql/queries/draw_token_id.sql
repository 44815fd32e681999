-- The id of the next token: it is part of the text that is hashed.
-- Always one row.
SELECT nextval(pg_get_serial_sequence('tokens', 'id')) AS id

-- Forget bad messages past retention.
-- $1 double precision  retention in seconds
-- No row: there is none.
DELETE FROM bad_messages
 WHERE bad_messages.at < clock_timestamp() - make_interval(secs => $1)
RETURNING bad_messages.id

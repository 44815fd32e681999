-- Write names of locks again for which a job began to wait while they were being forgotten.
-- $1 text[]  names
-- No row: none is needed.
INSERT INTO named_locks (name)
SELECT forgotten.name
  FROM unnest($1::text[]) AS forgotten (name)
 WHERE EXISTS (SELECT FROM jobs WHERE jobs.lock = forgotten.name AND jobs.status = 'PENDING')
 ORDER BY forgotten.name
    ON CONFLICT (name) DO NOTHING
RETURNING name

-- The days' partitions of output that are past retention and that no attempt refers to any more.
-- $1 double precision  retention in seconds
-- No row: there is none. statement drops the partition (DDL takes no parameters).
SELECT format('DROP TABLE %I', old.name) AS statement
  FROM (SELECT pg_class.relname AS name, to_date(right(pg_class.relname, 8), 'YYYYMMDD') AS day
          FROM pg_inherits
          JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
         WHERE pg_inherits.inhparent = 'output'::regclass AND pg_class.relname ~ '^output_[0-9]{8}$') AS old
 WHERE old.day < ((clock_timestamp() - make_interval(secs => $1)) AT TIME ZONE 'UTC')::date
   AND NOT EXISTS (SELECT FROM attempts WHERE attempts.output_day = old.day)
 ORDER BY old.day

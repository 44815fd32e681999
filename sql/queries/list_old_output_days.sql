-- The days' partitions of output that are past retention and that no attempt refers to any more.
-- $1 double precision  retention in seconds
-- No row: there is none. statement drops the partition (DDL takes no parameters). An attempt's day can't lie before its job
-- was made, so only the few jobs that are older than the day and still here are looked at.
SELECT format('DROP TABLE %I', old.name) AS statement
  FROM (SELECT pg_class.relname AS name, to_date(right(pg_class.relname, 8), 'YYYYMMDD') AS day
          FROM pg_inherits
          JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
         WHERE pg_inherits.inhparent = 'output'::regclass AND pg_class.relname ~ '^output_[0-9]{8}$') AS old
 WHERE old.day < ((clock_timestamp() - make_interval(secs => $1)) AT TIME ZONE 'UTC')::date
   AND (SELECT true
          FROM job_specs
          JOIN attempts ON attempts.job_id = job_specs.job_id
         WHERE job_specs.created_at < (old.day + 1)::timestamp AT TIME ZONE 'UTC' AND attempts.output_day = old.day
         LIMIT 1) IS NULL
 ORDER BY old.day

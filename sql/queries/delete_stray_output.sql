-- Delete output past retention that lies in the default partition and whose attempt is gone.
-- $1 double precision  retention in seconds
-- $2 bigint            at most so many rows
-- No row: there is none.
WITH stray AS MATERIALIZED (
    SELECT output_default.day, output_default.job_id, output_default.attempt, output_default.seq
      FROM output_default
     WHERE output_default.day < (SELECT ((clock_timestamp() - make_interval(secs => $1)) AT TIME ZONE 'UTC')::date)
       AND NOT EXISTS (SELECT FROM attempts
                        WHERE attempts.job_id = output_default.job_id AND attempts.attempt = output_default.attempt)
     LIMIT $2
       FOR UPDATE SKIP LOCKED
)
DELETE FROM output_default
 USING stray
 WHERE output_default.day = stray.day
   AND output_default.job_id = stray.job_id
   AND output_default.attempt = stray.attempt
   AND output_default.seq = stray.seq
RETURNING output_default.job_id

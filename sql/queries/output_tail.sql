-- Where the last bytes of one attempt's output begin.
-- $1 bigint    job id
-- $2 integer   attempt
-- $3 smallint  stream: 1 stdout, 2 stderr, null both
-- $4 bigint    how many bytes
-- No row: there is no output.
WITH measured AS (
    SELECT output.seq, octet_length(output.data) AS size,
           sum(octet_length(output.data)) OVER (ORDER BY output.seq DESC) AS total
      FROM output
     WHERE output.day = (SELECT attempts.output_day FROM attempts WHERE attempts.job_id = $1 AND attempts.attempt = $2)
       AND output.job_id = $1 AND output.attempt = $2
       AND ($3::smallint IS NULL OR output.stream = $3)
)
SELECT measured.seq - 1 AS after_seq, greatest(measured.total - $4, 0)::bigint AS skip_bytes
  FROM measured
 WHERE measured.total - measured.size < greatest($4::bigint, 1)
 ORDER BY measured.seq
 LIMIT 1

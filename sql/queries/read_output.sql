-- Output of one attempt in order of arrival: at most 1000 records, and as many as fit the limit, but at least one.
-- $1 bigint    job id
-- $2 integer   attempt
-- $3 bigint    after seq: only later records
-- $4 smallint  stream: 1 stdout, 2 stderr, null both
-- $5 bigint    limit in bytes
-- No row: nothing more was written yet, or retention has dropped it, or there is no such attempt.
WITH piece AS MATERIALIZED (
    SELECT output.seq, output.ts, output.stream, output.data, octet_length(output.data) AS size
      FROM output
     WHERE output.day = (SELECT attempts.output_day FROM attempts WHERE attempts.job_id = $1 AND attempts.attempt = $2)
       AND output.job_id = $1 AND output.attempt = $2 AND output.seq > $3
       AND ($4::smallint IS NULL OR output.stream = $4)
     ORDER BY output.seq
     LIMIT 1000
), measured AS (
    SELECT piece.seq, piece.ts, piece.stream, piece.data, piece.size, sum(piece.size) OVER (ORDER BY piece.seq) AS total
      FROM piece
)
SELECT measured.seq, measured.ts, measured.stream, measured.data
  FROM measured
 WHERE measured.total <= $5::bigint OR measured.total = measured.size
 ORDER BY measured.seq

-- How many finishes came too late, ever: one audit row each.
-- No row: never; the count is always one row.
SELECT count(*) AS fenced
  FROM audit
 WHERE audit.action = 'attempt.fenced'

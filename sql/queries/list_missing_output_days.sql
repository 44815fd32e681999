-- The days' partitions of output that are still to be made: today's and those of the days ahead, by UTC.
-- $1 integer  how many days ahead
-- No row: all exist. statement makes the partition (DDL takes no parameters). A day is left out while output_default holds rows
-- of it: PostgreSQL would refuse to make its partition, and its output is well where it is.
SELECT format('CREATE TABLE %I PARTITION OF output FOR VALUES FROM (%L) TO (%L)', wanted.name, wanted.day, wanted.day + 1)
       AS statement
  FROM (SELECT ahead.day, 'output_' || to_char(ahead.day, 'YYYYMMDD') AS name
          FROM (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date + n AS day FROM generate_series(0, $1::integer) AS n)
               AS ahead) AS wanted
 WHERE to_regclass(wanted.name) IS NULL
   AND NOT EXISTS (SELECT FROM output_default WHERE output_default.day = wanted.day)
 ORDER BY wanted.day

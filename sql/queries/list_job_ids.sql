-- The ids of the newest jobs that match all filters, by id downwards.
-- $1 text[]       statuses; null: any
-- $2 text[]       queues; null: any
-- $3 text         name; null: any
-- $4 jsonb        labels: an object whose pairs the job's labels must have; null: any
-- $5 bigint       parent id; null: any
-- $6 bigint       worker id; null: any
-- $7 timestamptz  created after; null: any
-- $8 timestamptz  created before; null: any
-- $9 bigint       first id: only this id and later ones
-- $10 bigint      before id: only earlier ids than this
-- $11 bigint      at most so many
-- No row: no job matches.
-- To be planned for each call's own values (plan_for_values): then conditions on null parameters vanish, a list of one
-- becomes an equality that an index keeps in order, and PENDING becomes the two halves that have an index each.
SELECT jobs.id
  FROM jobs
  JOIN job_specs ON job_specs.job_id = jobs.id
 WHERE ($1::text[] IS NULL OR jobs.status = ANY($1))
   AND (cardinality($1) IS DISTINCT FROM 1 OR jobs.status = $1[1])
   AND (cardinality($1) IS DISTINCT FROM 1 OR $1[1] <> 'PENDING'
        OR (jobs.status = 'PENDING' AND jobs.lock IS NULL) OR (jobs.status = 'PENDING' AND jobs.lock IS NOT NULL))
   AND ($2::text[] IS NULL OR job_specs.queue = ANY($2))
   AND (cardinality($2) IS DISTINCT FROM 1 OR job_specs.queue = $2[1])
   AND ($3::text IS NULL OR job_specs.name = $3)
   AND ($4::jsonb IS NULL OR (job_specs.labels @> $4 AND job_specs.labels <> '{}'))
   AND ($5::bigint IS NULL OR jobs.parent_id = $5)
   AND ($6::bigint IS NULL OR jobs.worker_id = $6)
   AND ($7::timestamptz IS NULL OR jobs.created_at > $7)
   AND ($8::timestamptz IS NULL OR jobs.created_at < $8)
   AND jobs.id >= $9 AND jobs.id < $10
   AND job_specs.job_id >= $9 AND job_specs.job_id < $10
 ORDER BY jobs.id DESC
 LIMIT $11

-- The ids of the newest jobs that match all filters, by id downwards.
-- $1 text[]       statuses; null: any
-- $2 text[]       queues; null: any; for statuses without COMPLETED, which have indexes of their own
-- $3 text[]       queues; null: any; for all other lists
-- $4 text         name; null: any
-- $5 jsonb        labels: an object whose pairs the job's labels must have; null: any
-- $6 bigint       parent id; null: any
-- $7 bigint       worker id; null: any
-- $8 timestamptz  created after; null: any
-- $9 timestamptz  created before; null: any
-- $10 bigint      first id: only this id and later ones
-- $11 bigint      before id: only earlier ids than this
-- $12 bigint      at most so many
-- No row: no job matches.
-- To be planned for each call's own values (plan_for_values). Then what is null vanishes, job_specs too where no filter needs
-- it (hence LEFT JOIN); a list of one becomes an equality, which an index keeps in order; and PENDING becomes the two halves
-- that have an index each.
SELECT jobs.id
  FROM jobs
  LEFT JOIN job_specs ON job_specs.job_id = jobs.id
 WHERE CASE WHEN $1::text[] IS NULL THEN true
            WHEN $1 = '{PENDING}' THEN (jobs.status = 'PENDING' AND jobs.lock IS NULL)
                                      OR (jobs.status = 'PENDING' AND jobs.lock IS NOT NULL)
            WHEN cardinality($1) = 1 THEN jobs.status = $1[1]
            ELSE jobs.status = ANY($1) END
   AND CASE WHEN $2::text[] IS NULL THEN true
            WHEN cardinality($2) = 1 THEN jobs.queue = $2[1]
            ELSE jobs.queue = ANY($2) END
   AND CASE WHEN $3::text[] IS NULL THEN true
            WHEN cardinality($3) = 1 THEN job_specs.queue = $3[1]
            ELSE job_specs.queue = ANY($3) END
   AND ($4::text IS NULL OR job_specs.name = $4)
   AND ($5::jsonb IS NULL OR (job_specs.labels @> $5 AND job_specs.labels <> '{}'))
   AND ($6::bigint IS NULL OR jobs.parent_id = $6)
   AND ($7::bigint IS NULL OR jobs.worker_id = $7)
   AND ($8::timestamptz IS NULL OR jobs.created_at > $8)
   AND ($9::timestamptz IS NULL OR jobs.created_at < $9)
   AND jobs.id >= $10 AND jobs.id < $11
   AND (($3 IS NULL AND $4 IS NULL AND $5 IS NULL) OR (job_specs.job_id >= $10 AND job_specs.job_id < $11))
 ORDER BY jobs.id DESC
 LIMIT $12

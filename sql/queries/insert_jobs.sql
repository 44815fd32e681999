-- Insert jobs with their specs, idempotency keys, named locks and audit rows: many requests at once.
-- $1 text[]              queues
-- $2 smallint[]          lanes
-- $3 timestamptz[]       earliest times; null: now; an array of nulls only may be null as a whole
-- $4 double precision[]  delays in seconds; null: none
-- $5 timestamptz[]       expiries; null: never
-- $6 integer[]           max retries
-- $7 boolean[]           fail on loss
-- $8 boolean[]           has children
-- $9 text[]              locks; null: no named lock
-- $10 text[]             names
-- $11 jsonb[]            labels; null: none
-- $12 json[]             specs
-- $13 text[]             actors; null: no audit row (a chain's child)
-- $14 text[]             keys; null: no idempotency key
-- $15 bytea[]            fingerprints
-- $16 bigint[]           parent ids
-- $17 text[]             parent edges
-- $18 integer[]          edge indexes
-- $19 integer[]          parent rounds
-- No row for a job (n counts from 1): its idempotency key is taken. Read who has it with list_idempotency_keys, in a new
-- statement: this one does not see a key that was committed while it waited for it.
-- Keys and lock names are inserted in order, so that two such statements never wait for each other. A job that has
-- expired already is inserted DEAD.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), wanted AS MATERIALIZED (
    SELECT nextval('jobs_id_seq'::regclass) AS id, job.*,
           coalesce(job.run_at, clock.now + make_interval(secs => coalesce(job.delay_s, 0))) AS due_at,
           coalesce(job.expires_at <= clock.now, false) AS is_expired,
           clock.now
      FROM clock,
           unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::double precision[], $5::timestamptz[], $6::integer[],
                  $7::boolean[], $8::boolean[], $9::text[], $10::text[], $11::jsonb[], $12::json[], $13::text[],
                  $14::text[], $15::bytea[], $16::bigint[], $17::text[], $18::integer[], $19::integer[])
           WITH ORDINALITY
           AS job (queue, lane, run_at, delay_s, expires_at, max_retries, fail_on_loss, has_children, lock, name, labels,
                   spec, actor, key, fingerprint, parent_id, parent_edge, edge_index, parent_round, n)
), reserved AS (
    INSERT INTO idempotency_keys (key, job_id, fingerprint)
    SELECT wanted.key, wanted.id, wanted.fingerprint
      FROM wanted
     WHERE wanted.key IS NOT NULL
     ORDER BY wanted.key, wanted.id
    ON CONFLICT (key) DO NOTHING
    RETURNING job_id
), accepted AS MATERIALIZED (
    SELECT wanted.*, wanted.due_at <= wanted.now AND NOT wanted.is_expired AS is_due
      FROM wanted
     WHERE wanted.key IS NULL OR wanted.id IN (SELECT reserved.job_id FROM reserved)
), named AS (
    INSERT INTO named_locks (name)
    SELECT DISTINCT accepted.lock FROM accepted WHERE accepted.lock IS NOT NULL ORDER BY accepted.lock
    ON CONFLICT (name) DO NOTHING
), inserted AS (
    INSERT INTO jobs (id, queue, lane, status, reason, dispatched, run_at, expires_at, max_retries, fail_on_loss,
                      has_children, lock, created_at, finished_at, parent_id, parent_edge, edge_index, parent_round)
    SELECT accepted.id, accepted.queue, accepted.lane,
           CASE WHEN accepted.is_expired THEN 'DEAD' ELSE 'PENDING' END,
           CASE WHEN accepted.is_expired THEN 'expired' END,
           accepted.is_due AND accepted.lock IS NULL, accepted.due_at, accepted.expires_at, accepted.max_retries,
           accepted.fail_on_loss, accepted.has_children, accepted.lock, accepted.now,
           CASE WHEN accepted.is_expired THEN accepted.now END,
           accepted.parent_id, accepted.parent_edge, accepted.edge_index, accepted.parent_round
      FROM accepted
), described AS (
    INSERT INTO job_specs (job_id, queue, name, labels, spec, created_at)
    SELECT accepted.id, accepted.queue, accepted.name, coalesce(accepted.labels, '{}'), accepted.spec, accepted.now
      FROM accepted
), audited AS (
    INSERT INTO audit (at, actor, action, job_id)
    SELECT accepted.now, accepted.actor, 'job.submit', accepted.id FROM accepted WHERE accepted.actor IS NOT NULL
)
SELECT accepted.n, accepted.id, accepted.is_expired, accepted.is_due, accepted.due_at AS run_at, accepted.now AS created_at
  FROM accepted

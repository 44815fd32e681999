-- Mark workers as lost that have not beaten since they were seen; only for people to see. A heartbeat takes the mark away.
-- $1 bigint[]  worker ids
-- $2 bigint[]  hb_seq of each as it was seen
-- No row for a worker: it has beaten since, is marked already, or is gone.
UPDATE workers
   SET state = 'lost'
  FROM unnest($1::bigint[], $2::bigint[]) AS seen (id, hb_seq)
 WHERE workers.id = seen.id AND workers.hb_seq = seen.hb_seq AND workers.state <> 'lost'
RETURNING workers.id

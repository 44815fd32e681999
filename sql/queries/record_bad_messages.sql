-- Keep messages that name no job, to be looked at.
-- $1 text[]     topics
-- $2 integer[]  partitions
-- $3 bigint[]   offsets
-- $4 text[]     what is wrong with each
-- $5 bytea[]    the first KiB of each
-- No row for a message: it was kept before.
INSERT INTO bad_messages (topic, partition, kafka_offset, problem, head)
SELECT bad.topic, bad.partition, bad.kafka_offset, bad.problem, bad.head
  FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::text[], $5::bytea[])
       AS bad (topic, partition, kafka_offset, problem, head)
 ORDER BY bad.topic, bad.partition, bad.kafka_offset
    ON CONFLICT (topic, partition, kafka_offset) DO NOTHING
RETURNING id

-- Keep messages that name no job.
-- $1 text[]     topics
-- $2 integer[]  partitions
-- $3 bigint[]   offsets
-- $4 text[]     what is wrong with them
-- $5 bytea[]    their first KiB
-- Never a row.
INSERT INTO bad_messages (topic, partition, kafka_offset, problem, head)
SELECT bad.topic, bad.partition, bad.kafka_offset, bad.problem, bad.head
  FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::text[], $5::bytea[])
       AS bad (topic, partition, kafka_offset, problem, head)
ON CONFLICT (topic, partition, kafka_offset) DO NOTHING

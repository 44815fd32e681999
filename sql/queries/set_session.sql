-- Bound what one session may do: no statement over 30 s, no transaction left open idle over 10 s, no JIT compilation.
-- $1 text  plan_cache_mode
-- Always one row.
SELECT set_config('statement_timeout', '30s', false) AS statement_timeout,
       set_config('idle_in_transaction_session_timeout', '10s', false) AS idle_in_transaction_session_timeout,
       set_config('jit', 'off', false) AS jit,
       set_config('plan_cache_mode', $1::text, false) AS plan_cache_mode

-- Bound what one session may do: no statement over 30 s, no transaction left open idle over 10 s, no JIT compilation.
-- Always one row.
SELECT set_config('statement_timeout', '30s', false) AS statement_timeout,
       set_config('idle_in_transaction_session_timeout', '10s', false) AS idle_in_transaction_session_timeout,
       set_config('jit', 'off', false) AS jit

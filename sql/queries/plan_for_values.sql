-- Have the statements of this transaction planned for their values, not once for all.
-- Always one row.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true) AS plan_cache_mode

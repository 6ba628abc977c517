-- Must raise if the change is not in place; must change nothing.
DO $$
BEGIN
    PERFORM queue_name, task_name, queueing_lock, args, status, scheduled_at
       FROM procrastinate.procrastinate_jobs LIMIT 0;
    ASSERT NOT EXISTS (SELECT FROM pg_proc
                        WHERE pronamespace = 'procrastinate'::regnamespace AND proconfig IS NULL),
           '0003: a queue function has no search_path of its own';
    ASSERT NOT has_function_privilege('public', 'tenure.keep_knocks'::regproc, 'EXECUTE'),
           '0003: everybody may write into the inbox';
END $$;

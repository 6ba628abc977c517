-- Takes back auth_users.sql. Users stay as they are; nobody hears of changes any more.
-- Locks     ACCESS EXCLUSIVE on auth.users for a moment: sign-ups wait, 2 s at most.
SET LOCAL lock_timeout = '2s';

-- With the function go its triggers: by themselves only the owner of auth.users could drop them.
DROP FUNCTION IF EXISTS tenure_supabase.mark_user() CASCADE;
DROP FUNCTION IF EXISTS tenure_supabase.users_between(uuid, uuid, integer);
DROP SCHEMA IF EXISTS tenure_supabase;

-- Loses   who is known: providers still know it, but our own keys would be new. Back up first.
SET LOCAL lock_timeout = '2s';

DROP POLICY users_seen ON tenure.users;
DROP TABLE tenure.memberships, tenure.identities;
DROP TABLE tenure.users, tenure.organizations;

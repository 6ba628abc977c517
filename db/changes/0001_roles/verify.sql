-- Must raise if the change is not in place; must change nothing.
DO $$
BEGIN
    ASSERT (SELECT count(*) = 4 FROM pg_roles
             WHERE rolname IN ('tenure_owner', 'tenure_app', 'tenure_worker', 'tenure_reader')),
           '0001: one of the four roles is missing';
    ASSERT to_regnamespace('tenure') IS NOT NULL, '0001: schema tenure is missing';
    PERFORM tenure.current_org(), tenure.current_person(), tenure.is_mine(NULL, NULL);
    ASSERT NOT has_schema_privilege('public', 'tenure', 'USAGE'), '0001: PUBLIC may use tenure';
END $$;

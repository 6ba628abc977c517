-- Must raise if the change is not in place; must change nothing.
DO $$
DECLARE
    tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['customer_intents', 'stripe_customers', 'payment_methods',
                                  'subscriptions', 'subscription_items', 'entitlements'] LOOP
        ASSERT (SELECT relrowsecurity FROM pg_class WHERE oid = ('tenure.' || tenant)::regclass),
               '0005: row-level security is off on tenure.' || tenant;
        ASSERT NOT has_table_privilege('tenure_app', 'tenure.' || tenant, 'INSERT, UPDATE, DELETE'),
               '0005: client requests may write tenure.' || tenant;
    END LOOP;
    ASSERT (SELECT count(*) = 2 FROM pg_indexes WHERE schemaname = 'tenure' AND indexdef LIKE '%UNIQUE%'
               AND indexname IN ('unique_org_customer', 'unique_user_customer')),
           '0005: an owner could have two living customers';
END $$;

-- Loses   the mapping of owners to Stripe customers: back up tenure.stripe_customers first.
--         Everything else here is a projection and comes back with the next looks.
SET LOCAL lock_timeout = '2s';

DROP TABLE tenure.entitlements, tenure.subscription_items, tenure.subscriptions, tenure.payment_methods;
DROP TABLE tenure.stripe_customers, tenure.customer_intents;

"""Everything under `/v1`: one file per resource, one row per call."""

from tenure.sandbox.stripe.resources import (
    account,
    catalog,
    checkout,
    clocks,
    customers,
    events,
    invoices,
    meters,
    payment_methods,
    portal,
    subscription_items,
    subscriptions,
    webhook_endpoints,
)

ROUTES = [
    route
    for resource in (
        account,
        customers,
        catalog,
        payment_methods,
        subscriptions,
        subscription_items,
        invoices,
        checkout,
        portal,
        clocks,
        events,
        webhook_endpoints,
        meters,
    )
    for route in resource.ROUTES
]

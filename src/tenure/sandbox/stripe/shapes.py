"""Every field of every object, at its quietest value; shapes of the current API version."""

from copy import deepcopy
from typing import Any

from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.shapes_billing import BILLING

NO_ADDRESS: Obj = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))

CUSTOMER: Obj = {
    "address": None,
    "balance": 0,
    "currency": None,
    "default_source": None,
    "delinquent": False,
    "description": None,
    "discount": None,
    "email": None,
    "invoice_prefix": "",
    "invoice_settings": {
        "custom_fields": None,
        "default_payment_method": None,
        "footer": None,
        "rendering_options": None,
    },
    "metadata": {},
    "name": None,
    "next_invoice_sequence": 1,
    "phone": None,
    "preferred_locales": [],
    "shipping": None,
    "tax_exempt": "none",
    "test_clock": None,
}

PRODUCT: Obj = {
    "active": True,
    "default_price": None,
    "description": None,
    "images": [],
    "marketing_features": [],
    "metadata": {},
    "name": "",
    "package_dimensions": None,
    "shippable": None,
    "statement_descriptor": None,
    "tax_code": None,
    "type": "service",
    "unit_label": None,
    "updated": 0,
    "url": None,
}

PRICE: Obj = {
    "active": True,
    "billing_scheme": "per_unit",
    "currency": "usd",
    "custom_unit_amount": None,
    "lookup_key": None,
    "metadata": {},
    "nickname": None,
    "product": "",
    "recurring": None,
    "tax_behavior": "unspecified",
    "tiers_mode": None,
    "transform_quantity": None,
    "type": "one_time",
    "unit_amount": 0,
    "unit_amount_decimal": "0",
}

FEATURE: Obj = {"active": True, "lookup_key": "", "metadata": {}, "name": ""}

PAYMENT_METHOD: Obj = {
    "allow_redisplay": "unspecified",
    "billing_details": {
        "address": NO_ADDRESS,
        "email": None,
        "name": None,
        "phone": None,
        "tax_id": None,
    },
    "card": {
        "brand": "visa",
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass",
        },
        "country": "US",
        "display_brand": "visa",
        "exp_month": 8,
        "exp_year": 2034,
        "fingerprint": "",
        "funding": "credit",
        "generated_from": None,
        "last4": "4242",
        "networks": {"available": ["visa"], "preferred": None},
        "regulated_status": None,
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    },
    "customer": None,
    "customer_account": None,
    "metadata": {},
    "type": "card",
}

CHECKOUT_SESSION: Obj = {
    "adaptive_pricing": None,
    "after_expiration": None,
    "allow_promotion_codes": None,
    "amount_subtotal": None,
    "amount_total": None,
    "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
    "billing_address_collection": None,
    "cancel_url": None,
    "client_reference_id": None,
    "client_secret": None,
    "collected_information": None,
    "consent": None,
    "consent_collection": None,
    "currency": None,
    "currency_conversion": None,
    "custom_fields": [],
    "custom_text": {
        "after_submit": None,
        "shipping_address": None,
        "submit": None,
        "terms_of_service_acceptance": None,
    },
    "customer": None,
    "customer_account": None,
    "customer_creation": None,
    "customer_details": None,
    "customer_email": None,
    "discounts": [],
    "expires_at": 0,
    "integration_identifier": None,
    "invoice": None,
    "invoice_creation": None,
    "locale": None,
    "managed_payments": {"enabled": False},
    "metadata": {},
    "mode": "subscription",
    "origin_context": None,
    "payment_intent": None,
    "payment_link": None,
    "payment_method_collection": "always",
    "payment_method_configuration_details": None,
    "payment_method_options": {},
    "payment_method_types": ["card"],
    "payment_status": "unpaid",
    "permissions": None,
    "phone_number_collection": {"enabled": False},
    "recovered_from": None,
    "saved_payment_method_options": {
        "allow_redisplay_filters": ["always"],
        "payment_method_remove": "disabled",
        "payment_method_save": None,
    },
    "setup_intent": None,
    "shipping_address_collection": None,
    "shipping_cost": None,
    "shipping_options": [],
    "status": "open",
    "submit_type": None,
    "subscription": None,
    "success_url": None,
    "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    "ui_mode": "hosted",
    "url": None,
    "wallet_options": None,
}

LINE_OF_SESSION: Obj = {
    "adjustable_quantity": None,
    "amount_discount": 0,
    "amount_subtotal": 0,
    "amount_tax": 0,
    "amount_total": 0,
    "currency": "usd",
    "description": "",
    "metadata": {},
    "price": None,
    "quantity": 1,
}

SETUP_INTENT: Obj = {
    "application": None,
    "automatic_payment_methods": None,
    "cancellation_reason": None,
    "client_secret": "",
    "customer": None,
    "description": None,
    "excluded_payment_method_types": None,
    "flow_directions": None,
    "last_setup_error": None,
    "latest_attempt": None,
    "mandate": None,
    "metadata": {},
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": None,
    "payment_method_configuration_details": None,
    "payment_method_options": {},
    "payment_method_types": ["card"],
    "single_use_mandate": None,
    "status": "succeeded",
    "usage": "off_session",
}

PORTAL_SESSION: Obj = {
    "configuration": "",
    "customer": "",
    "customer_account": None,
    "flow": None,
    "locale": None,
    "on_behalf_of": None,
    "return_url": None,
    "url": "",
}

PORTAL_CONFIGURATION: Obj = {
    "active": True,
    "application": None,
    "business_profile": {
        "headline": None,
        "privacy_policy_url": None,
        "terms_of_service_url": None,
    },
    "default_return_url": None,
    "features": {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "options": []},
            "enabled": True,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_update": {
            "billing_cycle_anchor": None,
            "default_allowed_updates": [],
            "enabled": False,
            "proration_behavior": "none",
            "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial",
        },
    },
    "is_default": False,
    "login_page": {"enabled": False, "url": None},
    "metadata": {},
    "name": None,
    "updated": 0,
}

TEST_CLOCK: Obj = {
    "deletes_after": 0,
    "frozen_time": 0,
    "name": None,
    "status": "ready",
    "status_details": {},
}

EVENT: Obj = {
    "api_version": None,
    "data": {},
    "pending_webhooks": 0,
    "request": {"id": None, "idempotency_key": None},
    "type": "",
}

WEBHOOK_ENDPOINT: Obj = {
    "api_version": None,
    "application": None,
    "description": None,
    "enabled_events": [],
    "metadata": {},
    "status": "enabled",
    "url": "",
}

METER: Obj = {
    "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
    "default_aggregation": {"formula": "sum"},
    "display_name": "",
    "event_name": "",
    "event_time_window": None,
    "status": "active",
    "status_transitions": {"deactivated_at": None},
    "updated": 0,
    "value_settings": {"event_payload_key": "value"},
}

BLANKS: dict[str, Obj] = {
    "customer": CUSTOMER,
    "product": PRODUCT,
    "price": PRICE,
    "entitlements.feature": FEATURE,
    "payment_method": PAYMENT_METHOD,
    "checkout.session": CHECKOUT_SESSION,
    "item": LINE_OF_SESSION,
    "setup_intent": SETUP_INTENT,
    "billing_portal.session": PORTAL_SESSION,
    "billing_portal.configuration": PORTAL_CONFIGURATION,
    "test_helpers.test_clock": TEST_CLOCK,
    "event": EVENT,
    "webhook_endpoint": WEBHOOK_ENDPOINT,
    "billing.meter": METER,
    **BILLING,
}


def blank(kind: str, object_id: str, **fields: Any) -> Obj:  # noqa: ANN401 (any JSON value)
    """Make a new object of a kind: its quiet shape with some fields filled in."""
    return {"id": object_id, "object": kind, **deepcopy(BLANKS.get(kind, {})), **fields}

"""The names of events that WorkOS knows; `GET /events` refuses any other (workos-node#1391)."""

FAMILIES = {
    "action": "authentication.denied user_registration.denied",
    "agent": "blueprint.created blueprint.deleted blueprint.updated instance.created"
    " instance.deleted instance.session.created instance.session.revoked"
    " registration.claim.attempt.created registration.claim.completed registration.created"
    " registration.credential.issued registration.deleted registration.expired"
    " registration.organization.switched registration.refreshed registration.revoked",
    "api_key": "created revoked updated",
    "authentication": "email_verification_failed email_verification_succeeded magic_auth_failed"
    " magic_auth_succeeded mfa_failed mfa_succeeded oauth_failed oauth_succeeded passkey_failed"
    " passkey_succeeded password_failed password_succeeded radar_risk_detected"
    " reauthentication_succeeded sso_failed sso_started sso_succeeded sso_timed_out",
    "connection": "activated deactivated deleted saml_certificate_renewal_required"
    " saml_certificate_renewed",
    "dsync": "activated deleted group.created group.deleted group.updated group.user_added"
    " group.user_removed token.created token.revoked user.created user.deleted user.updated",
    "email_verification": "created",
    "feature_flags": "flag.created flag.deleted flag.updated flag_rule.created flag_rule.deleted"
    " flag_rule.updated flag_target.created flag_target.deleted",
    "flag": "created deleted rule_updated updated",
    "group": "created deleted member_added member_removed updated",
    "invitation": "accepted created resent revoked",
    "magic_auth": "created",
    "organization": "created deleted updated",
    "organization_domain": "created deleted updated verification_failed verified",
    "organization_membership": "created deleted updated",
    "organization_role": "created deleted updated",
    "password_reset": "created succeeded",
    "permission": "created deleted updated",
    "pipes": "account_connection.add_failed account_connection.connected"
    " account_connection.connection_failed account_connection.disconnected"
    " account_connection.reauthorization_needed connected_account.connected"
    " connected_account.connection_failed connected_account.disconnected"
    " connected_account.reauthorization_needed",
    "radar": "challenge_created",
    "resource_export": "completed created downloaded failed",
    "role": "created deleted updated",
    "session": "created revoked",
    "user": "created deleted updated",
    "vault": "byok_key.deleted byok_key.verification_completed data.created data.deleted data.read"
    " data.updated dek.decrypted dek.read dek.rekeyed kek.created kek.deleted metadata.read"
    " names.listed",
    "waitlist_user": "approved created denied",
}
EVENT_NAMES = frozenset(
    f"{family}.{name}" for family, names in FAMILIES.items() for name in names.split()
)

"""The gate as a FastAPI dependency: `Annotated[Caller, Depends(needs(roles={"admin"}))]`."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Header, Request

from tenure.base.db import Scope
from tenure.billing.customers import Wish
from tenure.billing.model import Owner
from tenure.entry.http.errors import NotAllowed
from tenure.entry.world import Service
from tenure.gate.check import not_signed_in
from tenure.gate.model import SAFE_METHODS, Decision, Facts, Needs
from tenure.identity.claims import Principal
from tenure.identity.errors import NotProven
from tenure.identity.session import bearer

BUYERS = frozenset({"admin", "owner"})  # who may spend an organization's money
Authorization = Annotated[
    str | None,
    Header(description="`Bearer` and a session token", examples=["Bearer eyJ…"]),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, on whose behalf, and why she may."""

    who: Principal
    facts: Facts
    decision: Decision
    service: Service

    @property
    def scope(self) -> Scope:
        """Whose rows this request may touch."""
        return Scope(org_id=self.facts.org_id, user_id=self.facts.user_id, role=self.facts.role)

    @property
    def owner(self) -> Owner:
        """Who pays: the organization, or the user where she acts for herself."""
        if self.facts.org_id is not None:
            return Owner(org_id=self.facts.org_id, user_id=None)
        return Owner(org_id=None, user_id=self.facts.user_id)

    @property
    def actor(self) -> str:
        """How the audit log names her; who impersonates her is named too."""
        by = f" by {self.who.actor}" if self.who.actor else ""
        return f"user:{self.facts.user_id}{by}"

    def wish(self, *, email: str | None = None, name: str | None = None) -> Wish:
        """Say what Stripe is told of a new customer, so that people find it in the dashboard."""
        names = {f"{self.who.provider}_user": self.who.user_id}
        if self.who.org_id:
            names[f"{self.who.provider}_org"] = self.who.org_id
        return Wish(email=email, name=name, metadata=names)


def needs(
    *,
    subscription: bool = True,
    roles: Iterable[str] = (),
    features: Iterable[str] = (),
    personal: bool = False,
    always: bool = False,
) -> Callable[..., Awaitable[Caller]]:
    """Make the dependency of a route: signed in, and whatever else the route needs.

    `personal`: who acts for herself, without an organization, needs no role.
    `always`: refused also while the gate only observes.
    """
    wanted = Needs(
        subscription=subscription,
        roles=frozenset(roles),
        features=frozenset(features),
        personal=personal,
        always=always,
    )

    async def caller(request: Request, authorization: Authorization = None) -> Caller:
        service: Service = request.app.state.service
        try:
            token = bearer(authorization)
            who = service.gate.verifier.recall(token) or await service.gate.verifier.verify(token)
        except NotProven as exc:
            raise NotAllowed(not_signed_in(exc)) from exc
        writes = request.method not in SAFE_METHODS
        asked = replace(wanted, fresh=True) if writes else wanted
        decision = await service.gate.check(token, asked)
        if not decision.allowed:
            raise NotAllowed(decision)
        facts = decision.facts or await service.gate.facts(who)
        return Caller(who=who, facts=facts, decision=decision, service=service)

    return caller


SignedIn = Annotated[Caller, Depends(needs(subscription=False))]
Buyer = Annotated[
    Caller, Depends(needs(subscription=False, roles=BUYERS, personal=True, always=True))
]

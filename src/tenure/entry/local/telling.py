"""The story, told on a running machine."""

from collections.abc import Generator
from contextlib import contextmanager

from tenure.base.ids import Ids
from tenure.entry.local import story
from tenure.entry.local.account import Account
from tenure.entry.local.machine import Machine
from tenure.entry.local.scene import Scene, open_scene
from tenure.entry.local.story import Told
from tenure.entry.local.who import APPLICATION


@contextmanager
def scene_on(machine: Machine, ids: Ids) -> Generator[Scene]:
    """Open the doors of a machine."""
    plan = machine.plan
    with open_scene(
        service=plan.service,
        stripe=plan.stripe,
        stripe_key=plan.secrets.stripe_secret_key,
        identity=plan.site.url,
        identity_key=plan.who.key(plan.secrets),
        who=plan.who,
        ids=ids,
        check=machine.check,
        return_url=f"{APPLICATION}/welcome",
    ) as scene:
        yield scene


def tell_story(machine: Machine, ids: Ids, account: Account) -> list[Told]:
    """Go through the story with its live account.

    Errors: KeyboardInterrupt when we are to stop, Died.
    """
    with scene_on(machine, ids) as scene:
        return told_in(scene, account)


def told_in(scene: Scene, account: Account) -> list[Told]:
    """Go through the story in an open scene, which knows its people afterwards.

    Errors: KeyboardInterrupt when we are to stop, Died.
    """
    told: list[Told] = []
    for one in story.tell(scene, account.begins, story.steps_of(scene.who)):
        account.told(one)
        told.append(one)
    return told

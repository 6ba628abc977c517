"""Pass news on: each kind of news marks the subjects that must act on it."""

from collections.abc import Callable, Mapping, Sequence

from tenure.base.db import Db
from tenure.journal import news, store
from tenure.journal.model import News, Subject

Routes = Mapping[str, Callable[[News], Sequence[Subject]]]  # by topic
BATCH = 200


async def relay(db: Db, routes: Routes) -> int:
    """Pass on everything unsent; say how many pieces of news there were."""
    passed = 0
    while True:
        async with db.transaction() as tx:
            taken = await news.take_unsent(tx, limit=BATCH)
            subjects = [s for item in taken for s in routes.get(item.topic, _nobody)(item)]
            if subjects:
                await store.mark(tx, subjects)
        passed += len(taken)
        if len(taken) < BATCH:
            return passed


def _nobody(_: News) -> Sequence[Subject]:
    return ()

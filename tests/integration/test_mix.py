"""The mix of commands the benchmarks send: it holds every type, each valid at its place, but for the mistakes that are meant."""

from collections import Counter
from datetime import UTC, datetime

import orjson

from services.clock import SystemClock
from services.intake.reading import Incoming
from services.registry import REGISTRY
from services.spine import intake_for
from services.store import Store
from tests.benchmarks import lives
from tests.benchmarks.mix import REFUSED, REPEATED, WHOLE, Mix, types_of
from tests.benchmarks.world import imported, send
from tests.integration.support import rows

TOLERANCE = 0.02


def test_the_mix_holds_every_command_type_and_only_its_mistakes_are_refused(store: Store) -> None:
    at = datetime.now(UTC)
    send(store, "PROGRAMME-IMPORT", imported(at))
    taken = Mix(at).take(WHOLE)
    assert types_of(taken) == set(REGISTRY.contracts.commands)
    messages = [Incoming(*message, number) for number, message in enumerate(taken)]
    types = {(found := orjson.loads(one.payload))["id"]: str(found["type"]) for one in messages}
    intake = intake_for(store, SystemClock())
    outcomes: Counter[str] = Counter()
    for start in range(0, WHOLE, 500):
        outcomes.update(intake.process(messages[start : start + 500]).outcomes)

    answered = rows(store, "SELECT command_id, outcome, refusal FROM log.receipts WHERE source <> 'PROGRAMME-IMPORT'")
    assert {types[row["command_id"]] for row in answered if row["outcome"] == 1} == set(REGISTRY.contracts.commands)
    meant = {f"sauro.{step.aggregate}.{step.type}.v1" for step in lives.REFUSED}
    refused = {(types[row["command_id"]], str(row["refusal"])) for row in answered if row["outcome"] != 1}
    assert not [what for what in refused if what[0] not in meant]
    assert abs(outcomes["rejected"] / WHOLE - REFUSED) < TOLERANCE
    assert abs(outcomes["duplicate"] / WHOLE - REPEATED) < TOLERANCE
    assert outcomes.total() == outcomes["accepted"] + outcomes["rejected"] + outcomes["duplicate"] == WHOLE
    assert Counter(types.values()).most_common(1)[0][0] == "sauro.assignment.ReportProgress.v1"

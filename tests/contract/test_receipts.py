"""What intake publishes of a receipt is what the contract's model says of it (R-356)."""

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest

from contracts.receipts import Receipt, Refusal
from services.intake.answers import Answer

AT = datetime(2026, 6, 2, 1, 0, tzinfo=UTC)
REFUSED = Refusal(rule="ChildrenOpen", field="subject", message='còn việc "con" chưa xong\n')
ANSWERS = {
    "accepted": Answer("DMS-1", "0198c0de-0001", "accepted", 753, AT.replace(microsecond=104_219), (1101, 1102), 5),
    "accepted, no event": Answer("DMS-1", "0198c0de-0002", "accepted", 754, AT, (), 5),
    "milliseconds": Answer("DMS-1", "0198c0de-0003", "accepted", 755, AT.replace(microsecond=120_000), (1,), 1),
    "first number": Answer("dms", "a", "accepted", 0, AT, (1,), 1),
    "another zone": Answer("DMS-1", "b", "accepted", 1, AT.astimezone(timezone(timedelta(hours=7))), (1,), 1),
    "rejected": Answer("DMS-1", "0198c0de-0004", "rejected", 756, AT, refusal=REFUSED),
    "unreadable": Answer("DMS-1", "0198c0de-0005", "unreadable", 757, AT, refusal=REFUSED),
    "repeated": Answer("DMS-1", "0198c0de-0006", "accepted", 758, AT, (7,), 3, duplicate=True),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_receipt_goes_out_as_its_model_would(answer: Answer) -> None:
    receipt = Receipt(**answer._asdict())
    envelope = orjson.loads(answer.cloud_event())
    assert envelope.pop("data") == orjson.loads(receipt.model_dump_json(exclude_none=True))
    assert list(orjson.loads(answer.cloud_event())["data"]) == list(
        orjson.loads(receipt.model_dump_json(exclude_none=True))
    )
    assert envelope == {
        "specversion": "1.0",
        "id": str(receipt.receipt),
        "source": "//sauro/receipts",
        "type": "sauro.receipt.v1",
        "subject": f"{receipt.source}/{receipt.id}",
        "time": orjson.loads(receipt.model_dump_json())["recorded_at"],
        "datacontenttype": "application/json",
    }
    assert Answer.of(receipt) == answer


def test_answer_has_the_fields_of_the_contract() -> None:
    assert Answer._fields == tuple(Receipt.model_fields)

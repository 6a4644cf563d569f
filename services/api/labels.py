"""Vietnamese labels of the English keys that answers carry."""

Labels = dict[str, dict[str, str]]

LABELS: Labels = {
    "health": {"on_track": "đúng tiến độ", "at_risk": "có nguy cơ chậm", "overdue": "quá hạn"},
    "assignment_status": {
        "draft": "dự thảo",
        "assigned": "đã giao",
        "acknowledged": "đã tiếp nhận",
        "in_progress": "đang thực hiện",
        "under_review": "đang thẩm định",
        "suspended": "tạm dừng",
        "completed": "hoàn thành",
        "cancelled": "đã hủy",
        "closed_unfinished": "kết thúc khi chưa hoàn thành",
    },
    "obligation_status": {
        "undated": "chưa có thời hạn",
        "scheduled": "đã lên lịch",
        "open": "đang chờ nộp",
        "submitted": "đã nộp",
        "accepted": "đã chấp nhận",
        "consolidated": "đã tổng hợp",
        "forwarded": "đã chuyển cấp trên",
        "waived": "được miễn",
    },
    "obligation_kind": {
        "report": "báo cáo định kỳ",
        "ad_hoc_report": "báo cáo đột xuất",
        "mandatory_product": "sản phẩm bắt buộc",
        "phase_milestone": "mốc của giai đoạn",
        "commitment": "bản cam kết",
        "personal_plan": "kế hoạch cá nhân",
        "unit_plan": "kế hoạch của đơn vị",
        "register": "sổ theo dõi",
        "explanation": "giải trình",
        "self_review": "bản tự kiểm điểm",
        "consultation_reply": "trả lời lấy ý kiến",
    },
    "phase_status": {
        "planned": "chưa bắt đầu",
        "open": "đang diễn ra",
        "awaiting_review": "chờ sơ kết",
        "under_review": "đang sơ kết",
        "reviewed": "đã sơ kết",
        "closed": "đã kết thúc",
    },
    "warning_status": {
        "raised": "đã phát",
        "delivered": "đã gửi đến người nhận",
        "acknowledged": "đã tiếp nhận",
        "responded": "đã xử lý",
        "resolved": "đã giải quyết",
        "dismissed": "đã bác bỏ",
        "superseded": "đã được thay thế",
    },
    "warning_act": {
        "remind": "nhắc việc",
        "warn": "cảnh báo",
        "demand_explanation": "yêu cầu giải trình",
        "escalate": "báo cáo cấp trên",
    },
    "timeliness": {
        "early": "trước hạn",
        "on_time": "đúng hạn",
        "late": "trễ hạn",
        "undated": "không có thời hạn",
    },
    "outcome": {
        "accepted": "đã chấp nhận",
        "rejected": "bị từ chối",
        "duplicate": "trùng lặp",
        "unreadable": "không đọc được",
    },
}
"""Group of keys to key to label."""

NO_UNIT = "chưa rõ đơn vị"
WHOLE_ORGANISATION = "toàn cơ quan"


def label(group: str, key: str | None) -> str | None:
    """The Vietnamese label of a key; the key itself when it has none."""
    return None if key is None else LABELS[group].get(key, key)

"""Sample wordings of the play. None names a person."""

WORKS = (
    "Rà soát, cập nhật danh mục nhiệm vụ tồn đọng",
    "Số hóa hồ sơ, tài liệu của đơn vị",
    "Rút ngắn thời gian giải quyết thủ tục hành chính",
    "Kiểm tra việc thực hiện quy chế làm việc",
    "Xây dựng quy trình phối hợp giữa các đơn vị",
    "Tổ chức tập huấn nghiệp vụ cho cán bộ",
    "Hoàn thiện hồ sơ quyết toán công trình",
    "Đề xuất phương án xử lý điểm nghẽn",
    "Cập nhật cơ sở dữ liệu chuyên ngành",
    "Khảo sát mức độ hài lòng của người dân và doanh nghiệp",
    "Rà soát quy hoạch, kế hoạch sử dụng đất",
    "Chuẩn bị nội dung sơ kết phong trào thi đua",
    "Tháo gỡ vướng mắc giải phóng mặt bằng",
    "Nâng cấp trang thông tin và dịch vụ công trực tuyến",
    "Kiểm tra an toàn cơ sở văn hóa, thể thao",
    "Đẩy nhanh tiến độ giải ngân vốn đầu tư công",
)
DIFFICULTIES = (
    "Chưa nhận được ý kiến phối hợp của đơn vị liên quan.",
    "Thiếu số liệu đầu vào, đang chờ cơ quan cấp trên cung cấp.",
    "Kinh phí chưa được phân bổ kịp thời.",
    "Văn bản hướng dẫn chưa thống nhất, cần xin ý kiến.",
    "Nhân sự phụ trách luân chuyển, cần thời gian bàn giao.",
    "Hạ tầng kỹ thuật chưa đáp ứng yêu cầu.",
)
PROPOSALS = (
    "Đề nghị tổ chức họp liên ngành trong tuần tới.",
    "Đề nghị văn phòng đôn đốc đơn vị phối hợp.",
    "Đề nghị điều chuyển kinh phí trong phạm vi dự toán.",
)
NOTES = (
    "Kết quả đã được đơn vị tự kiểm tra.",
    "Hồ sơ kèm theo đầy đủ theo danh mục.",
    "Đã thống nhất với các đơn vị phối hợp.",
)
EXPLANATIONS = (
    "Nguyên nhân khách quan: phụ thuộc tiến độ của đơn vị phối hợp; đơn vị cam kết hoàn thành trong tháng.",
    "Nguyên nhân chủ quan: bố trí công việc chưa hợp lý; đơn vị nhận trách nhiệm và đã có kế hoạch khắc phục.",
    "Khối lượng công việc phát sinh; đơn vị đề nghị được điều chỉnh tiến độ.",
)
DIRECTIVES = (
    "Yêu cầu đơn vị báo cáo tiến độ hằng ngày cho đến khi hoàn thành.",
    "Giao văn phòng theo dõi, đôn đốc; đơn vị hoàn thành trước cuối tuần.",
    "Điều chỉnh phân công trong đơn vị để bảo đảm tiến độ.",
)
MATTERS = (
    "Nội dung vượt thẩm quyền, đề nghị cấp trên cho chủ trương.",
    "Vướng mắc về quy định liên ngành, đề nghị cấp trên chỉ đạo.",
)
CAUSES = (
    ("objective", "chậm do chờ hướng dẫn của cấp trên"),
    ("subjective", "đơn vị chưa bố trí đủ nguồn lực"),
    ("both", "khối lượng lớn và phối hợp chưa tốt"),
)
RETURN_REASONS = (
    "Hồ sơ thiếu minh chứng, đề nghị bổ sung",
    "Số liệu chưa thống nhất với báo cáo trước",
    "Kết quả chưa đúng yêu cầu của nhiệm vụ",
)

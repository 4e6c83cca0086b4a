"""Names by which logs call the columns of the raw logs, most telling first, and the spellings of nulls."""

import re

NAMES: dict[str, str] = {
    "user_id": (
        "user_id uid user userid u_id member_id memberid account_id account customer_id cust_id buyer_id "
        "visitor_id visitor open_id openid passport_id device_id did imei guid cookie_id user_no 用户id 用户 "
        "用户编号 会员id 设备id"
    ),
    "item_id": (
        "item_id iid item itemid sku sku_id skuid product_id product nid news_id newsid doc_id docid article_id "
        "goods_id goods spu_id ad_id adid creative_id content_id video_id vid photo_id feed_id pid note_id poi_id "
        "shop_id 商品id 商品 物品id 物品 内容id 文章id 视频id 广告id 商品编号"
    ),
    "log_time": (
        "log_time event_time timestamp ts time datetime date_time log_ts event_ts time_stamp request_time "
        "server_time impression_time expose_time exposure_time show_time view_time occurred_at created_at "
        "create_time ctime at logged_at unix_time time_ms timestamp_ms ts_ms eventtime 时间 日志时间 曝光时间 "
        "时间戳 请求时间 事件时间"
    ),
    "label": (
        "label click clicked is_click is_clicked isclick clk clicks y target click_flag clickflag click_label "
        "if_click has_click 是否点击 点击 标签 点击标签"
    ),
    "scene": (
        "scene scene_id sceneid scenario page page_id page_name channel channel_id placement placement_id slot "
        "slot_id tab tab_id surface domain module site source position_id 场景 场景id 频道 渠道 页面 频道id"
    ),
    "item_title": (
        "title item_title item_name name headline product_name goods_name sku_name ad_title news_title subject "
        "text description desc 标题 商品名称 名称 商品标题 商品名 文章标题"
    ),
    "item_entity_names": (
        "item_entity_names item_entities tags item_tags tag keywords keyword entities categories category cate "
        "item_category labels topics 标签列表 关键词 类目 分类"
    ),
    "query_entity_seq": (
        "query_entity_seq queries query search searches search_history query_history search_words 搜索 搜索词 搜索历史"
    ),
    "service_entity_seq": (
        "service_entity_seq services service history hist click_history view_history visits viewed browse_history "
        "click_seq item_seq behaviors 服务 历史 浏览历史 点击历史"
    ),
    "bill_entity_seq": (
        "bill_entity_seq bills bill orders purchases order_history buy_history purchase_history payments 账单 "
        "购买历史 订单"
    ),
    "event_id": "event_id log_id logid imp_id impression_id expo_id uuid event_uuid msg_id trace_id request_id",
}
AFTER_THE_CLICK = re.compile(
    r"click|clk|dwell|stay|watch|play|duration|finish|convert|conversion|purchase|bought|buy|order|pay|gmv|revenue|cart|like|share"
    r"|点击|停留|时长|播放|转化|购买|下单|支付",
    re.IGNORECASE,
)
"""A number so called may be known only after the click: it would be the label in other words."""

NULLS = ("\\N", "NULL", "null", "Null", "(null)", "nan", "NaN", "NAN", "<NA>", "<null>")
"""Spellings that are a null wherever they are a whole value."""
UNSURE_NULLS = ("None", "none", "NA", "N/A", "n/a", "na", "nil", "-", "--", "undefined", "#N/A", "?")
"""Spellings that may be a value: a null where they stand in a column of numbers, or often."""

_OF_A_USER = re.compile(r"user|member|profile|hist|用户", re.IGNORECASE)
_ASCII_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\x00-\x7f]+")


def normal(name: str) -> str:
    """Return a name without case, separators and dots."""
    return re.sub(r"[^0-9a-z\u0080-\uffff]", "", name.lower())


_KNOWN = {role: [normal(name) for name in names.split()] for role, names in NAMES.items()}


def name_score(role: str, name: str) -> int:
    """Return how much a column's name says that it has a role: 0 nothing, 100 all."""
    known = _KNOWN[role]
    if role == "item_entity_names" and _OF_A_USER.search(name):
        return 0
    if normal(name) == normal(role):
        return 101
    for spelling, factor in ((name, 1.0), (name.rsplit(".", 1)[-1], 0.8)):
        if normal(spelling) in known:
            return int((100 - known.index(normal(spelling))) * factor)
    words = [word.lower() for word in _ASCII_WORDS.findall(name)]
    for size in (3, 2):  # …_user_id
        if len(words) > size and "".join(words[-size:]) in known:
            return 40
    return 30 if len(words) > 1 and len(words[-1]) > 2 and words[-1] in known else 0

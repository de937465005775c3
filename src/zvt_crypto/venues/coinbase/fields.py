"""The names of Coinbase's fields, by kind of message and of both APIs: those that we read and those that we do not."""

from __future__ import annotations

import msgspec

from zvt_crypto.venues.coinbase import spec
from zvt_crypto.venues.fields import Kind, Shape, shape
from zvt_crypto.venues.rest import Call

_CANDLE = "start low high open close volume"
_TICKER = """
    type product_id price volume_24_h low_24_h high_24_h low_52_w high_52_w price_percent_chg_24_h best_bid best_bid_quantity best_ask
    best_ask_quantity
"""
_EVENTS = {
    "market_trades": "type trades{product_id trade_id price size time side}",
    "l2_data": "type product_id updates{side event_time price_level new_quantity}",
    "ticker": f"type tickers{{{_TICKER}}}",
    "ticker_batch": f"type tickers{{{_TICKER}}}",
    "candles": f"type candles{{product_id {_CANDLE}}}",
    "heartbeats": "type current_time heartbeat_counter",
    "subscriptions": "type subscriptions{*}",
}
_PERPETUAL = "open_interest funding_rate funding_time max_leverage base_asset_uuid underlying_type"
_FUTURE = f"""
    venue contract_code contract_code_display_name contract_expiry contract_expiry_name contract_expiry_timezone contract_expiry_type
    contract_size contract_root_unit contract_display_name group_description group_short_description risk_managed_by display_name
    perpetual_details{{{_PERPETUAL}}} time_to_expiry_ms non_crypto twenty_four_by_seven funding_interval open_interest funding_rate
    funding_time region_enabled{{*}} intraday_margin_rate{{long_margin_rate short_margin_rate}}
    overnight_margin_rate{{long_margin_rate short_margin_rate}} settlement_price futures_asset_type index_price product_group_cbrn
"""
_SESSION = """
    is_session_open open_time close_time session_state after_hours_order_entry_disabled closed_reason maintenance{start_time end_time}
"""
_PRODUCT = f"""
    product_id price price_percentage_change_24h volume_24h volume_percentage_change_24h high_24h low_24h base_increment quote_increment
    quote_min_size quote_max_size base_min_size base_max_size base_name quote_name watched is_disabled new status cancel_only limit_only
    post_only trading_disabled auction_mode product_type quote_currency_id base_currency_id base_display_symbol quote_display_symbol
    fcm_trading_session_details{{{_SESSION}}} mid_market_price alias alias_to view_only price_increment display_name product_venue
    approximate_quote_24h_volume new_at market_cap base_cbrn quote_cbrn product_cbrn icon_color icon_url display_name_overwrite
    is_alpha_testing about_description best_bid_price best_ask_price future_product_details{{{_FUTURE}}}
"""
_REST = {
    "time": "iso epochSeconds epochMillis",
    "products": f"products{{{_PRODUCT}}} num_products pagination{{prev_cursor next_cursor has_next has_prev}}",
    "product": _PRODUCT,
    "candles": f"candles{{{_CANDLE}}}",
    "ticker": "trades{trade_id product_id price size time side bid ask exchange} best_bid best_ask",
    "product_book": "pricebook{product_id bids{price size} asks{price size} time} last mid_market spread_bps spread_absolute",
    "trades": "time trade_id price size side",
}
EVENTS: dict[str, Shape] = {kind: shape(f"channel client_id timestamp sequence_num events{{{names}}}") for kind, names in _EVENTS.items()}
ERROR = shape("type message reason sequence_num channel client_id timestamp")
REST: dict[str, Shape] = {name: shape(names) for name, names in _REST.items()}


class _Head(msgspec.Struct):
    channel: str | None = None


_HEAD = msgspec.json.Decoder(_Head)


def frame_kind(payload: bytes) -> Kind | None:
    """The kind of a frame; none for one whose channel is not known: the parser tells of that."""
    channel = _HEAD.decode(payload).channel
    if channel is None:
        return "error", ERROR
    name = spec.L2_DATA if channel == "level2" else channel
    known = EVENTS.get(name)
    return None if known is None else (name, known)


def answer_kind(call: Call) -> Kind | None:
    """The kind of what a call is answered with: the last part of its path, but for a product, whose path ends in its name."""
    parts = call.target.partition("?")[0].rpartition("/")
    name = "product" if parts[0].endswith("market/products") else parts[2]
    known = REST.get(name)
    return None if known is None else (f"rest {name}", known)

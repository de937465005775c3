"""Views with the names and columns that users of ZVT know.

Doubles are cast through text: that keeps the shortest digits that read back as the same double; a direct cast cuts at 15.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SLUGS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w", "1mon")
# ZVT's ids: the day alone from one day up, milliseconds below.
DAY_ID = "YYYY-MM-DD"
TIME_ID = 'YYYY-MM-DD"T"HH24:MI:SS.MS'

NOUNS = """
CREATE VIEW crypto_asset AS
SELECT a.id, a.symbol, n.full_name, n.market_cap::numeric AS market_cap, n.max_supply::numeric AS max_supply, a.exchange,
       a.created_at AS created_timestamp, greatest(a.created_at, n.updated_at) AS updated_timestamp
FROM asset a LEFT JOIN asset_now n USING (asset_key);

CREATE VIEW zvt_instrument AS
SELECT i.instrument_id, i.id, i.kind, b.symbol AS base_asset, q.symbol AS quote_asset, i.exchange, n.status,
       n.min_trade_amount::numeric AS min_trade_amount,
       scale(trim_scale(n.tick::numeric)) AS price_precision, scale(trim_scale(n.lot::numeric)) AS quantity_precision,
       n.tick::numeric AS tick, n.lot::numeric AS lot, n.min_notional::numeric AS min_notional, i.native_symbol,
       u.symbol AS underlying_asset, s.symbol AS settlement_currency, n.contract_size::numeric AS contract_size,
       'epoch'::timestamptz + n.listed_ns::bigint / 1000 * interval '1 microsecond' AS listed_timestamp,
       'epoch'::timestamptz + n.delisted_ns::bigint / 1000 * interval '1 microsecond' AS delisted_timestamp,
       'epoch'::timestamptz + n.expiry_ns::bigint / 1000 * interval '1 microsecond' AS expiry_timestamp,
       i.created_at AS created_timestamp, greatest(i.created_at, n.updated_at) AS updated_timestamp
FROM instrument i
JOIN asset b ON b.asset_key = i.base_asset
JOIN asset q ON q.asset_key = i.quote_asset
LEFT JOIN asset u ON u.asset_key = i.underlying
LEFT JOIN asset s ON s.asset_key = i.settlement
LEFT JOIN instrument_now n USING (instrument_id);

CREATE VIEW crypto_pair AS
SELECT id, base_asset, quote_asset, exchange, status, min_trade_amount, price_precision, quantity_precision, tick, lot, min_notional,
       native_symbol, listed_timestamp, delisted_timestamp, created_timestamp, updated_timestamp
FROM zvt_instrument WHERE kind = 'pair';

CREATE VIEW crypto_perp AS
SELECT z.id, z.base_asset, z.quote_asset, z.exchange, z.status, z.min_trade_amount, z.price_precision, z.quantity_precision, z.tick, z.lot,
       z.min_notional, z.underlying_asset, z.settlement_currency, z.contract_size, f.rate::text::numeric AS funding_rate,
       f.event_time AS funding_timestamp, z.native_symbol, z.listed_timestamp, z.delisted_timestamp, z.created_timestamp,
       greatest(z.updated_timestamp, f.known_at) AS updated_timestamp
FROM zvt_instrument z
LEFT JOIN LATERAL (
    SELECT rate, event_time, known_at FROM funding WHERE funding.instrument_id = z.instrument_id ORDER BY event_time DESC LIMIT 1
) f ON true
WHERE z.kind = 'perp';

CREATE VIEW crypto_trade AS
SELECT i.id || '_' || (ARRAY['trade', 'agg'])[t.stream] || '_' || t.venue_trade_id AS id, i.id AS entity_id, t.event_time AS timestamp,
       t.event_ns_rest, t.venue_trade_id AS trade_id, (ARRAY['trade', 'agg'])[t.stream] AS stream,
       t.price::text::numeric AS price, t.quantity::text::numeric AS quantity,
       CASE WHEN t.taker_buys THEN 'buy' ELSE 'sell' END AS side, t.known_at
FROM trade t JOIN instrument i USING (instrument_id);

CREATE VIEW crypto_book_snapshot AS
SELECT i.id || '_' || to_char(s.event_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '_' || s.last_id AS id,
       i.id AS entity_id, s.event_time AS timestamp, s.event_ns_rest, s.last_id,
       (SELECT coalesce(json_agg(json_build_array(p::text, q::text)), '[]') FROM unnest(s.bid_prices, s.bid_sizes) AS l(p, q)) AS bids,
       (SELECT coalesce(json_agg(json_build_array(p::text, q::text)), '[]') FROM unnest(s.ask_prices, s.ask_sizes) AS l(p, q)) AS asks,
       s.known_at
FROM book_snapshot s JOIN instrument i USING (instrument_id)
"""

KDATA = """
CREATE VIEW crypto{kind}_{slug}_kdata AS
SELECT i.id || '_' || to_char(k.open_time AT TIME ZONE 'UTC', '{id_format}') AS id, i.id AS entity_id, k.open_time AS timestamp,
       k.open::text::numeric AS open_price, k.high::text::numeric AS high_price, k.low::text::numeric AS low_price,
       k.close::text::numeric AS close_price, k.volume::text::numeric AS volume, k.turnover::text::numeric AS turnover,
       k.trades, (ARRAY['derived', 'trades', 'import', 'venue'])[k.source] AS source, k.final, k.known_at
FROM kline_{slug} k JOIN instrument i USING (instrument_id)
WHERE i.kind = '{kind}'
"""


def upgrade() -> None:
    """Create."""
    _run(NOUNS)
    for slug in SLUGS:
        for kind in ("pair", "perp"):
            _run(KDATA.format(kind=kind, slug=slug, id_format=DAY_ID if slug in ("1d", "1w", "1mon") else TIME_ID))


def downgrade() -> None:
    """Drop."""
    for slug in SLUGS:
        _run(f"DROP VIEW cryptopair_{slug}_kdata, cryptoperp_{slug}_kdata")
    _run("DROP VIEW crypto_book_snapshot, crypto_trade, crypto_perp, crypto_pair, zvt_instrument, crypto_asset")


def _run(script: str) -> None:
    """Statements end with a semicolon and a blank line; function bodies hold no blank line."""
    for statement in script.strip().split(";\n\n"):
        op.get_bind().exec_driver_sql(statement)

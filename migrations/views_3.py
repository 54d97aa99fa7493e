"""The view `reading` since migration 0003: one row for each value, for people and Grafana, from the chunks of values.

Only the newest revision of each (series, start, duration), with the description of its data point. A chunk never
crosses midnight UTC, so a query that names its days (`day`) opens only the chunks of those days.
"""

_NEWEST_SQLITE = """
CREATE VIEW reading AS
SELECT ven_id, resource_id, quantity, kind, source, unit, r_id, report_type, reading_type, flow, phase, day,
       strftime('%Y-%m-%dT%H:%M:%SZ', start_s, 'unixepoch') AS start_utc,
       start_s, duration_s, value, quality, revision, received_at, series_id
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY series_id, day, start_s, duration_s ORDER BY revision DESC
    ) AS place
    FROM (
        SELECT s.id AS series_id, s.ven_id, s.resource_id, s.quantity, s.kind, s.source, s.unit,
               s.r_id, s.report_type, s.reading_type, s.flow, s.phase,
               date(c.start_s, 'unixepoch') AS day,
               c.start_s + coalesce(
                   json_extract(c.offsets, '$[' || v.key || ']'), v.key * coalesce(c.step_s, 0)
               ) AS start_s,
               coalesce(
                   json_extract(c.durations, '$[' || v.key || ']'),
                   CASE WHEN s.kind IN ('mean', 'sum') THEN c.step_s END,
                   0
               ) AS duration_s,
               v.value AS value,
               coalesce(json_extract(c.qualities, '$[' || v.key || ']'), 'good') AS quality,
               c.revision,
               CASE WHEN c.received IS NULL THEN c.received_at ELSE strftime(
                   '%Y-%m-%d %H:%M:%f', c.received_at,
                   printf('+%.6f seconds', json_extract(c.received, '$[' || v.key || ']') / 1e6)
               ) END AS received_at
        FROM series AS s
        JOIN chunk AS c ON c.series_id = s.id
        JOIN json_each(c."values") AS v
    )
)
WHERE place = 1
"""

_NEWEST_POSTGRESQL = """
CREATE VIEW reading AS
SELECT ven_id, resource_id, quantity, kind, source, unit, r_id, report_type, reading_type, flow, phase, day,
       to_timestamp(start_s) AS start_utc,
       start_s, duration_s, value, quality, revision, received_at, series_id
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY series_id, day, start_s, duration_s ORDER BY revision DESC
    ) AS place
    FROM (
        SELECT s.id AS series_id, s.ven_id, s.resource_id, s.quantity, s.kind, s.source, s.unit,
               s.r_id, s.report_type, s.reading_type, s.flow, s.phase,
               (to_timestamp(c.start_s) AT TIME ZONE 'UTC')::date AS day,
               c.start_s + coalesce(v.offset_s::bigint, (v.position - 1) * coalesce(c.step_s, 0)) AS start_s,
               coalesce(v.duration_s::bigint, CASE WHEN s.kind IN ('mean', 'sum') THEN c.step_s END, 0) AS duration_s,
               v.value::double precision AS value,
               coalesce(v.quality, 'good') AS quality,
               c.revision,
               c.received_at + coalesce(v.received_us::bigint, 0) * interval '1 microsecond' AS received_at
        FROM series AS s
        JOIN chunk AS c ON c.series_id = s.id
        CROSS JOIN LATERAL ROWS FROM (
            jsonb_array_elements_text(c."values"),
            jsonb_array_elements_text(c.offsets),
            jsonb_array_elements_text(c.durations),
            jsonb_array_elements_text(c.qualities),
            jsonb_array_elements_text(c.received)
        ) WITH ORDINALITY AS v(value, offset_s, duration_s, quality, received_us, position)
    ) AS every_revision
) AS ranked
WHERE place = 1
"""

READING_3 = {"sqlite": _NEWEST_SQLITE, "postgresql": _NEWEST_POSTGRESQL}
"""By SQLAlchemy's name of the dialect. Frozen: a later migration that changes the view brings its own text."""

-- A quiet afternoon: some rows of each database change.

\connect shop
UPDATE sales.purchase SET state = 'shipped' WHERE state = 'paid' AND placed < timestamptz '2024-01-08Z';
INSERT INTO sales.customer (name, address, joined) VALUES ('Ada', '12 St James''s Square', '2024-12-10');

\connect telemetry
INSERT INTO sample SELECT n, timestamptz '2024-07-01Z', n, '\x00' FROM generate_series(1, 1000) AS n;

\connect documents
SELECT lo_put(content, 1000, 'amended') FROM scan WHERE id = 7;

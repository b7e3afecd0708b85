-- A small company's databases: about 260 MB, made by the server itself within seconds. Everything is a function of row numbers, so two runs make
-- the same rows.

CREATE ROLE clerk NOLOGIN;
CREATE ROLE auditor LOGIN IN ROLE pg_read_all_data;
CREATE DATABASE shop;
CREATE DATABASE telemetry;
CREATE DATABASE documents;

\connect shop
CREATE SCHEMA catalog;
CREATE SCHEMA sales;
CREATE TYPE sales.state AS ENUM ('placed', 'paid', 'shipped', 'returned');
CREATE DOMAIN catalog.price AS numeric(10, 2) CHECK (value >= 0);

CREATE TABLE catalog.product (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    price catalog.price NOT NULL,
    properties jsonb NOT NULL
);
INSERT INTO catalog.product
SELECT n, 'product ' || n, n % 9000 / 7.0, jsonb_build_object('colour', n % 12, 'code', md5(n::text), 'sizes', jsonb_build_array(n % 3, n % 5))
FROM generate_series(1, 50000) AS n;
CREATE INDEX ON catalog.product USING gin (properties jsonb_path_ops);

CREATE TABLE sales.customer (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    address text NOT NULL,
    joined date NOT NULL
);
INSERT INTO sales.customer (name, address, joined)
SELECT 'customer ' || n, md5(n::text) || ' street', date '2020-01-01' + n % 1800 FROM generate_series(1, 100000) AS n;
ALTER TABLE sales.customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY recent_ones ON sales.customer FOR SELECT TO clerk USING (joined > date '2022-01-01');

CREATE TABLE sales.purchase (
    id bigint NOT NULL,
    customer integer NOT NULL REFERENCES sales.customer,
    product integer NOT NULL REFERENCES catalog.product,
    placed timestamptz NOT NULL,
    state sales.state NOT NULL,
    note text,
    PRIMARY KEY (placed, id)
) PARTITION BY RANGE (placed);
SELECT format(
    'CREATE TABLE sales.purchase_%s PARTITION OF sales.purchase FOR VALUES FROM (%L) TO (%L)',
    to_char(month, 'YYYY_MM'), month, month + interval '1 month'
) FROM generate_series(timestamptz '2024-01-01Z', timestamptz '2024-12-01Z', interval '1 month') AS month \gexec
INSERT INTO sales.purchase
SELECT n, 1 + n % 100000, 1 + n % 50000, timestamptz '2024-01-01Z' + n * interval '52 seconds',
    (enum_range(NULL::sales.state))[1 + n % 4], CASE WHEN n % 3 = 0 THEN md5(n::text) END
FROM generate_series(1, 600000) AS n;
CREATE INDEX ON sales.purchase (customer);
CREATE VIEW sales.open_purchase AS SELECT * FROM sales.purchase WHERE state IN ('placed', 'paid');
CREATE MATERIALIZED VIEW sales.revenue AS
SELECT date_trunc('month', placed) AS month, sum(price) AS revenue
FROM sales.purchase JOIN catalog.product ON product.id = purchase.product GROUP BY 1;
CREATE FUNCTION sales.forbid_return_before_shipping() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.state = 'returned' AND old.state <> 'shipped' THEN
        RAISE EXCEPTION 'purchase % was never shipped', old.id;
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER shipped_first BEFORE UPDATE OF state ON sales.purchase FOR EACH ROW EXECUTE FUNCTION sales.forbid_return_before_shipping();
GRANT USAGE ON SCHEMA sales TO clerk;
GRANT SELECT, INSERT ON sales.purchase TO clerk;
COMMENT ON TABLE sales.purchase IS 'One row for each purchase, a partition for each month';

\connect telemetry
CREATE TABLE sample (
    sensor integer NOT NULL,
    taken timestamptz NOT NULL,
    value double precision NOT NULL,
    raw bytea NOT NULL
) PARTITION BY HASH (sensor);
SELECT format('CREATE TABLE sample_%s PARTITION OF sample FOR VALUES WITH (MODULUS 4, REMAINDER %s) TABLESPACE archive', n, n)
FROM generate_series(0, 3) AS n \gexec
INSERT INTO sample
SELECT n % 500, timestamptz '2024-06-01Z' + n * interval '1 second', sin(n / 1000.0), decode(md5(n::text), 'hex')
FROM generate_series(1, 900000) AS n;
CREATE INDEX ON sample USING brin (taken);

\connect documents
CREATE TABLE scan (
    id integer PRIMARY KEY,
    title text NOT NULL,
    content oid NOT NULL
);
INSERT INTO scan
SELECT n, 'scan ' || n, lo_from_bytea(0, decode((SELECT string_agg(md5((n * 16384 + part)::text), '') FROM generate_series(1, 16384) AS part), 'hex'))
FROM generate_series(1, 120) AS n;

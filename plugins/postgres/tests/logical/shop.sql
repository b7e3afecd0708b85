-- About everything that mode `logical` carries, in one database, which is set to read only.
SET default_transaction_read_only = off;
SELECT current_setting('server_version_num')::int >= 140000 AS v14, current_setting('server_version_num')::int >= 150000 AS v15,
       current_setting('server_version_num')::int >= 160000 AS v16, current_setting('server_version_num')::int >= 170000 AS v17 \gset
CREATE SCHEMA "Odd Schema" AUTHORIZATION owner;
CREATE SCHEMA hidden;
COMMENT ON SCHEMA hidden IS 'with ; and '' and
a line break';
GRANT USAGE ON SCHEMA "Odd Schema" TO clerk;
GRANT ALL ON SCHEMA public TO owner;
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO reader, clerk;
CREATE EXTENSION hstore WITH SCHEMA hidden;
CREATE EXTENSION btree_gist;
CREATE EXTENSION postgres_fdw;

-- types
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy');
ALTER TYPE mood ADD VALUE 'so-so' BEFORE 'happy';
CREATE TYPE hidden.address AS (street text COLLATE "C", number integer, tags text[]);
COMMENT ON COLUMN hidden.address.street IS 'a street';
CREATE DOMAIN positive AS integer DEFAULT 1 NOT NULL CONSTRAINT above CHECK (VALUE > 0);
ALTER DOMAIN positive ADD CONSTRAINT below CHECK (VALUE < 1000000) NOT VALID;
COMMENT ON CONSTRAINT above ON DOMAIN positive IS 'not below';
COMMENT ON DOMAIN positive IS 'a number';
CREATE FUNCTION hidden.distance(a float8, b float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
\if :v14
CREATE TYPE spans AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = hidden.distance, MULTIRANGE_TYPE_NAME = spans_multirange);
\else
CREATE TYPE spans AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = hidden.distance);
\endif
CREATE TYPE unborn;
GRANT USAGE ON TYPE mood TO clerk;
REVOKE USAGE ON TYPE mood FROM PUBLIC;
ALTER TYPE mood OWNER TO owner;
CREATE COLLATION hidden.german (provider = icu, locale = 'de-u-co-phonebk', deterministic = false);
CREATE COLLATION plain FROM "C";
\if :v16
CREATE COLLATION hidden.ruled (provider = icu, locale = 'und', rules = '&a < g');
\endif
\if :v17
CREATE COLLATION hidden.built (provider = builtin, locale = 'C.UTF-8');
CREATE DOMAIN hidden.needed AS text CONSTRAINT "must be" NOT NULL CONSTRAINT short CHECK (length(VALUE) < 100);
\endif

-- a base type, from functions that are there
CREATE TYPE colour;
CREATE FUNCTION colour_in(cstring) RETURNS colour LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION colour_out(colour) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE colour (INPUT = colour_in, OUTPUT = colour_out, LIKE = integer, DEFAULT = '7', CATEGORY = 'N');
CREATE FUNCTION colour_equals(colour, colour) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4eq';
CREATE FUNCTION colour_before(colour, colour) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4lt';
CREATE FUNCTION colour_compare(colour, colour) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE FUNCTION colour_compare_integer(integer, colour) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE OPERATOR === (FUNCTION = colour_equals, LEFTARG = colour, RIGHTARG = colour, COMMUTATOR = ===, NEGATOR = !==, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE FUNCTION colour_differs(colour, colour) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4ne';
CREATE OPERATOR !== (FUNCTION = colour_differs, LEFTARG = colour, RIGHTARG = colour, COMMUTATOR = !==, NEGATOR = ===);
CREATE OPERATOR <<< (FUNCTION = colour_before, LEFTARG = colour, RIGHTARG = colour);
COMMENT ON OPERATOR <<< (colour, colour) IS 'before';
CREATE OPERATOR FAMILY colours USING btree;
CREATE OPERATOR CLASS colour_order DEFAULT FOR TYPE colour USING btree FAMILY colours AS OPERATOR 1 <<<, OPERATOR 3 ===, FUNCTION 1 colour_compare(colour, colour);
CREATE OPERATOR FAMILY hidden.loose USING btree;
ALTER OPERATOR FAMILY hidden.loose USING btree ADD OPERATOR 3 public.=== (colour, colour), FUNCTION 1 (colour, colour) colour_compare(colour, colour);
CREATE CAST (colour AS integer) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (hidden.address AS text) WITH INOUT;
COMMENT ON CAST (colour AS integer) IS 'as it is';

-- functions
CREATE FUNCTION total(VARIADIC numbers integer[] DEFAULT '{}', OUT sum bigint) LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = public, "Odd Schema" SET work_mem = '8MB'
  AS $body$ BEGIN SELECT sum(n) INTO sum FROM unnest(numbers) n; -- $$ and ';'
  END $body$;
\if :v14
CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT n * 2; END;
\else
CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
\endif
CREATE FUNCTION hidden."Odd;Function"(a integer, b text DEFAULT 'x''y') RETURNS TABLE (c integer, d text) LANGUAGE sql SECURITY DEFINER COST 7 ROWS 3 AS $$ SELECT a, b $$;
COMMENT ON FUNCTION hidden."Odd;Function"(integer, text) IS 'odd';
CREATE PROCEDURE nothing(INOUT n integer) LANGUAGE plpgsql AS $$ BEGIN n := n + 1; COMMIT; END $$;
ALTER PROCEDURE nothing OWNER TO owner;
REVOKE EXECUTE ON FUNCTION twice(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION twice(integer) TO reader WITH GRANT OPTION;
SET ROLE reader;
GRANT EXECUTE ON FUNCTION public.twice(integer) TO clerk;
RESET ROLE;
CREATE AGGREGATE together(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0', COMBINEFUNC = int4pl, PARALLEL = safe);
CREATE AGGREGATE hidden.sliding(float8) (SFUNC = float8_accum, STYPE = float8[], FINALFUNC = float8_avg, INITCOND = '{0,0,0}');
COMMENT ON AGGREGATE together(integer) IS 'a sum';
CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION on_command() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;

-- sequences and tables
CREATE SEQUENCE loose AS smallint INCREMENT -3 MINVALUE -100 MAXVALUE 50 START 20 CACHE 2 CYCLE;
SELECT nextval('loose'), nextval('loose');
CREATE SEQUENCE untouched;
GRANT USAGE ON SEQUENCE loose TO clerk;
CREATE TABLE customer (
  id integer GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 2) PRIMARY KEY,
  number serial UNIQUE,
  name text COLLATE "C" NOT NULL,
  mood mood DEFAULT 'happy',
  address hidden.address,
  colour colour DEFAULT '3',
  discount positive DEFAULT 5,
  attributes hidden.hstore,
  doubled integer GENERATED ALWAYS AS (twice(5)) STORED,
  data jsonb DEFAULT '{"a": [1, 2]}',
  "Odd ""Column""" bytea,
  gone integer,
  CONSTRAINT "named check" CHECK (name <> '' AND twice(1) = 2),
  EXCLUDE USING gist (number WITH =, discount WITH <>)
) WITH (fillfactor = 70, toast.autovacuum_enabled = false);
ALTER TABLE customer DROP COLUMN gone;
ALTER TABLE customer OWNER TO owner;
\if :v14
ALTER TABLE customer ALTER COLUMN data SET COMPRESSION pglz;
\endif
ALTER TABLE customer ALTER COLUMN data SET STORAGE EXTERNAL, ALTER COLUMN name SET STATISTICS 300, ALTER COLUMN name SET (n_distinct = -0.5);
ALTER TABLE customer REPLICA IDENTITY FULL;
COMMENT ON TABLE customer IS 'who buys';
COMMENT ON COLUMN customer."Odd ""Column""" IS 'odd';
COMMENT ON CONSTRAINT "named check" ON customer IS 'not empty';
COMMENT ON CONSTRAINT customer_pkey ON customer IS 'the key';
COMMENT ON INDEX customer_pkey IS 'its index';
GRANT SELECT, INSERT ON customer TO clerk;
GRANT SELECT ON customer TO reader WITH GRANT OPTION;
GRANT UPDATE (name, mood) ON customer TO clerk;
INSERT INTO customer (name, address, attributes, "Odd ""Column""")
  SELECT 'name ' || n || E'\t\\ \n\r\x01 é ', ROW('s', n, ARRAY['x', NULL, ''])::hidden.address, 'a=>1', decode(md5(n::text), 'hex') FROM generate_series(1, 1000) n;
CREATE TABLE purchase (
  id bigint GENERATED BY DEFAULT AS IDENTITY,
  customer integer NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  amount numeric(12, 2) CHECK (amount >= 0),
  CONSTRAINT purchase_key PRIMARY KEY (id) INCLUDE (amount) WITH (fillfactor = 80) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT buyer FOREIGN KEY (customer) REFERENCES customer ON DELETE CASCADE DEFERRABLE
);
INSERT INTO purchase (customer, at, amount) SELECT 100 + 2 * (n % 1000), 'epoch', n FROM generate_series(1, 5000) n;
ALTER TABLE purchase ADD CONSTRAINT later CHECK (amount < 10) NOT VALID;
ALTER TABLE purchase ADD CONSTRAINT "other buyer" FOREIGN KEY (customer) REFERENCES customer (number) NOT VALID;
CREATE UNLOGGED TABLE "Odd Schema"."a.b/c%d" ("x
y" integer, "select" text);
INSERT INTO "Odd Schema"."a.b/c%d" VALUES (1, NULL), (2, '\N'), (3, '\.');
CREATE TABLE nothing_at_all ();
INSERT INTO nothing_at_all DEFAULT VALUES;
CREATE TABLE typed OF hidden.address (number NOT NULL, PRIMARY KEY (number));
CREATE TABLE parent (a integer NOT NULL DEFAULT 1, b text, CONSTRAINT shared CHECK (a > 0), CONSTRAINT own CHECK (b <> 'x') NO INHERIT);
CREATE TABLE other_parent (c integer);
CREATE TABLE child (b text DEFAULT 'child', d integer) INHERITS (parent, other_parent);
ALTER TABLE child ALTER COLUMN c SET NOT NULL;
ALTER TABLE child ALTER COLUMN a SET DEFAULT 7;
ALTER TABLE child ADD CONSTRAINT of_child CHECK (d > 0);
INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (2, 'c', 3, 4);

-- partitions
CREATE TABLE measure (id integer, at date NOT NULL, place text, value numeric DEFAULT 0, CONSTRAINT sane CHECK (value >= 0)) PARTITION BY RANGE (at);
CREATE TABLE measure_2024 PARTITION OF measure FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE measure_2025 PARTITION OF measure FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (place);
CREATE TABLE measure_2025_here PARTITION OF measure_2025 (value DEFAULT 5) FOR VALUES IN ('here', NULL);
CREATE TABLE "Odd Schema".elsewhere (at date NOT NULL, id integer, value numeric DEFAULT 0, place text, CONSTRAINT sane CHECK (value >= 0));
ALTER TABLE measure_2025 ATTACH PARTITION "Odd Schema".elsewhere DEFAULT;
CREATE TABLE hashed (k integer PRIMARY KEY, v text) PARTITION BY HASH (k);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE measure ADD PRIMARY KEY (id, at, place);
CREATE INDEX measure_value ON measure (value) WHERE value > 10;
CREATE INDEX ON hashed (lower(v));
ALTER TABLE measure ADD FOREIGN KEY (id) REFERENCES hashed;
INSERT INTO hashed SELECT n, 'v' || n FROM generate_series(1, 100) n;
INSERT INTO measure SELECT n, date '2024-06-01' + n * 6, CASE n % 2 WHEN 0 THEN 'here' ELSE 'there' END, n FROM generate_series(1, 90) n;

-- indexes and statistics
CREATE INDEX customer_expression ON customer USING btree (lower(name) text_pattern_ops DESC NULLS LAST, (number + 1)) INCLUDE (mood) WITH (fillfactor = 60) WHERE discount > 2;
ALTER INDEX customer_expression ALTER COLUMN 2 SET STATISTICS 500;
\if :v15
CREATE UNIQUE INDEX one_name ON customer (name, number) NULLS NOT DISTINCT;
\else
CREATE UNIQUE INDEX one_name ON customer (name, number);
\endif
COMMENT ON INDEX one_name IS 'only one';
CREATE INDEX customer_data ON customer USING gin (data jsonb_path_ops);
ALTER TABLE purchase CLUSTER ON purchase_key;
ALTER TABLE hashed_0 REPLICA IDENTITY USING INDEX hashed_0_pkey;
CREATE STATISTICS hidden.together_they (ndistinct, mcv) ON name, number FROM customer;
ALTER STATISTICS hidden.together_they SET STATISTICS 50;
COMMENT ON STATISTICS hidden.together_they IS 'both';

-- views
CREATE VIEW buyers (who, "how much") WITH (security_barrier) AS SELECT c.name, sum(p.amount) FROM customer c JOIN purchase p ON p.customer = c.id GROUP BY c.id;
CREATE VIEW hidden.checked AS SELECT * FROM purchase WHERE amount > 0 WITH LOCAL CHECK OPTION;
ALTER VIEW hidden.checked ALTER COLUMN amount SET DEFAULT 12;
COMMENT ON VIEW buyers IS 'who buys how much';
COMMENT ON COLUMN buyers.who IS 'by name';
ALTER VIEW buyers OWNER TO owner;
GRANT SELECT ON buyers TO PUBLIC;
CREATE VIEW circular_a AS SELECT 1 AS n, 'x'::text COLLATE "C" AS t;
CREATE VIEW circular_b AS SELECT n, t FROM circular_a;
CREATE OR REPLACE VIEW circular_a AS SELECT n, t FROM circular_b;
COMMENT ON VIEW circular_a IS 'goes around';
CREATE RECURSIVE VIEW counted (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counted WHERE n < 10;
CREATE MATERIALIZED VIEW first_level WITH (fillfactor = 90) AS SELECT id, amount FROM purchase WHERE amount < 50;
CREATE VIEW between AS SELECT sum(amount) AS total FROM first_level;
CREATE MATERIALIZED VIEW a_second_level AS SELECT total FROM between;
CREATE MATERIALIZED VIEW empty AS SELECT 1 AS n WITH NO DATA;
CREATE UNIQUE INDEX ON first_level (id);
COMMENT ON MATERIALIZED VIEW first_level IS 'first';
\if :v14
CREATE FUNCTION customers_named(text) RETURNS SETOF customer LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM customer WHERE name = $1; END;
\endif
CREATE FUNCTION is_fine(customer) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT true $$;
ALTER TABLE customer ADD CONSTRAINT fine CHECK (is_fine(customer));
CREATE TABLE referring (c customer, cs customer[], p positive[], r spans);
\if :v14
ALTER TABLE referring ADD COLUMN m spans_multirange;
\endif

-- what reacts
CREATE TRIGGER changed BEFORE INSERT OR UPDATE OF name ON customer FOR EACH ROW WHEN (NEW.name IS NOT NULL) EXECUTE FUNCTION on_change('a', 'b''c');
CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON purchase DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION on_change();
CREATE TRIGGER partitioned AFTER INSERT ON measure FOR EACH ROW EXECUTE FUNCTION on_change();
ALTER TABLE measure_2024 DISABLE TRIGGER partitioned;
CREATE TRIGGER seen AFTER UPDATE ON customer REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION on_change();
ALTER TABLE customer ENABLE ALWAYS TRIGGER seen;
COMMENT ON TRIGGER changed ON customer IS 'changes';
CREATE RULE instead AS ON DELETE TO parent WHERE old.a > 5 DO INSTEAD NOTHING;
CREATE RULE through AS ON INSERT TO buyers DO INSTEAD INSERT INTO other_parent VALUES (1);
ALTER TABLE parent DISABLE RULE instead;
COMMENT ON RULE instead ON parent IS 'instead';
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION on_command();
ALTER EVENT TRIGGER watch DISABLE;
ALTER TABLE purchase ENABLE ROW LEVEL SECURITY;
ALTER TABLE purchase FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON purchase FOR SELECT TO clerk, reader USING (customer > 0);
CREATE POLICY strict ON purchase AS RESTRICTIVE FOR ALL USING (true) WITH CHECK (amount > 0);
COMMENT ON POLICY strict ON purchase IS 'strict';

-- replication, foreign data, text search, languages
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert, update');
\if :v15
CREATE PUBLICATION "some" FOR TABLE customer WHERE (id > 5), TABLES IN SCHEMA "Odd Schema" WITH (publish_via_partition_root = true);
CREATE PUBLICATION columns FOR TABLE hashed_0 (k, v);
\else
CREATE PUBLICATION "some" FOR TABLE customer WITH (publish_via_partition_root = true);
\endif
COMMENT ON PUBLICATION "some" IS 'some';
CREATE SUBSCRIPTION from_nowhere CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p, "Q" WITH (connect = false, slot_name = NONE);
\if :v14
ALTER SUBSCRIPTION from_nowhere SET (binary = true);
\endif
CREATE SERVER elsewhere TYPE 't' VERSION '1' FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'it''s', dbname 'x');
CREATE USER MAPPING FOR clerk SERVER elsewhere OPTIONS (user 'u', password 'p''w');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere;
CREATE FOREIGN TABLE far (id integer OPTIONS (column_name 'ID') NOT NULL, t text DEFAULT 'x', CONSTRAINT ok CHECK (id > 0)) SERVER elsewhere OPTIONS (schema_name 's');
COMMENT ON FOREIGN TABLE far IS 'far';
GRANT USAGE ON FOREIGN SERVER elsewhere TO clerk;
CREATE FOREIGN DATA WRAPPER own OPTIONS (debug 'true');
CREATE TEXT SEARCH DICTIONARY hidden.words (TEMPLATE = simple, STOPWORDS = english, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION hidden.search (COPY = english);
ALTER TEXT SEARCH CONFIGURATION hidden.search ALTER MAPPING FOR asciiword, word WITH hidden.words, english_stem;
COMMENT ON TEXT SEARCH CONFIGURATION hidden.search IS 'search';
CREATE LANGUAGE other HANDLER plpgsql_call_handler;
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE in_heap2 (n integer) USING heap2;
CREATE DEFAULT CONVERSION hidden.mine FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TRANSFORM FOR integer LANGUAGE plpgsql (FROM SQL WITH FUNCTION prsd_lextype(internal));

-- large objects, privileges
SELECT lo_from_bytea(40001, decode(repeat('00ff41', 100000), 'hex'));
SELECT lo_create(40002);
COMMENT ON LARGE OBJECT 40001 IS 'large';
ALTER LARGE OBJECT 40001 OWNER TO owner;
GRANT SELECT ON LARGE OBJECT 40001 TO clerk;
ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA public GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "Head of Department" GRANT USAGE ON SEQUENCES TO clerk WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO reader;
REVOKE ALL ON untouched FROM postgres;

-- what others did to what an extension owns
COMMENT ON FUNCTION hidden.hstore(text, text) IS 'somebody else''s words';
REVOKE EXECUTE ON FUNCTION hidden.hstore(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hidden.hstore(text, text) TO clerk;

-- what has been a defect once
CREATE TRIGGER silent AFTER INSERT ON hashed FOR EACH ROW EXECUTE FUNCTION on_change();
ALTER TABLE hashed DISABLE TRIGGER silent;
CREATE PROCEDURE like_another(IN a integer, IN b integer) LANGUAGE sql AS 'SELECT 1';
\if :v14
CREATE PROCEDURE like_another(IN a integer, OUT b integer) LANGUAGE sql AS 'SELECT 1';
\endif
CREATE TABLE above (a integer, b integer);
CREATE TABLE in_another_order (b integer, a integer);
ALTER TABLE in_another_order INHERIT above;
CREATE DOMAIN loosened AS integer;
CREATE TABLE loosened_values (v loosened);
INSERT INTO loosened_values VALUES (-1);
ALTER DOMAIN loosened ADD CONSTRAINT not_below CHECK (VALUE > 0) NOT VALID;
ALTER OPERATOR FAMILY integer_ops USING btree ADD FUNCTION 1 (integer, colour) colour_compare_integer(integer, colour);
COMMENT ON SCHEMA public IS NULL;
\if :v17
CREATE TABLE identified (id integer GENERATED ALWAYS AS IDENTITY, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE identified_2024 PARTITION OF identified FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO identified (at) VALUES ('2024-02-03');
GRANT MAINTAIN ON customer TO clerk;
CREATE EVENT TRIGGER welcome ON login EXECUTE FUNCTION on_command();
ALTER EVENT TRIGGER welcome DISABLE;
\endif

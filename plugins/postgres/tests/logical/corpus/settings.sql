-- What a role or a database may be set to, and what that does to whoever reads and restores.
SELECT current_setting('server_version_num')::int >= 140000 AS v14 \gset
CREATE ROLE app;
CREATE ROLE other;
CREATE ROLE third;
ALTER ROLE app SET search_path = '', 'b''c', "D", "select", public, "$user", 'x"y', 'a, b';
ALTER ROLE other SET search_path = '';
ALTER ROLE other SET temp_tablespaces = '', pg_default;
ALTER ROLE other SET local_preload_libraries = 'a b', '$libdir/plugins/X';
ALTER ROLE other SET my.value = '""';
SELECT set_config('search_path', 'user, "Q", public', false);
ALTER ROLE third SET search_path FROM CURRENT;
RESET search_path;
CREATE DATABASE strange;
\connect strange
CREATE TABLE arrays (n integer[] DEFAULT '{1,NULL}', t text[]);
INSERT INTO arrays VALUES (ARRAY[1, NULL], ARRAY['NULL', NULL, 'null', '']);
CREATE VIEW constants AS SELECT '{1,NULL}'::integer[] AS n, '-1 mons +2 days -03:04:05'::interval AS i, 0.1::float8 AS f, 'it''s \ '::text AS t, '\x00ff27'::bytea AS b;
CREATE TABLE spans (i interval, d date, f float8);
INSERT INTO spans VALUES ('-1 mons +2 days -03:04:05.6', '0044-03-15 BC', 0.1 + 0.2), ('1 year -2 days', 'infinity', '-0');
SELECT lo_from_bytea(77, '\x00ff27');
ALTER DATABASE strange SET array_nulls = off;
ALTER DATABASE strange SET backslash_quote = off;
ALTER DATABASE strange SET standard_conforming_strings = off;
ALTER DATABASE strange SET datestyle = 'German';
ALTER DATABASE strange SET intervalstyle = sql_standard;
ALTER DATABASE strange SET extra_float_digits = -15;
ALTER DATABASE strange SET bytea_output = 'escape';
ALTER DATABASE strange SET xmloption = document;
ALTER DATABASE strange SET quote_all_identifiers = on;
ALTER DATABASE strange SET client_encoding = 'LATIN1';
ALTER DATABASE strange SET search_path = 'A b', 'c,d', '';
ALTER DATABASE strange SET default_transaction_isolation = 'serializable';
ALTER DATABASE strange SET default_transaction_deferrable = on;
ALTER DATABASE strange SET lock_timeout = 1000;
ALTER DATABASE strange SET statement_timeout = 1000;
ALTER DATABASE strange SET idle_in_transaction_session_timeout = 1000;
\if :v14
ALTER DATABASE strange SET idle_session_timeout = 1000;
\endif
ALTER DATABASE strange SET transform_null_equals = on;
ALTER DATABASE strange SET client_min_messages = 'error';

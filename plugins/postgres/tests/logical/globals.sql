-- What belongs to the cluster.
SELECT current_setting('server_version_num')::int >= 140000 AS v14, current_setting('server_version_num')::int >= 150000 AS v15,
       current_setting('server_version_num')::int >= 160000 AS v16, current_setting('server_version_num')::int >= 170000 AS v17 \gset
CREATE ROLE clerk LOGIN PASSWORD 'secret' CONNECTION LIMIT 5 VALID UNTIL '2030-01-01';
CREATE ROLE "Head of Department" CREATEDB CREATEROLE;
CREATE ROLE owner NOINHERIT BYPASSRLS;
CREATE ROLE reader;
GRANT reader TO clerk WITH ADMIN OPTION;
GRANT pg_monitor TO reader;
GRANT owner TO "Head of Department";
COMMENT ON ROLE clerk IS 'sells; it''s a "clerk"';
ALTER ROLE clerk SET search_path = "$user", public, "Odd Schema";
ALTER ROLE clerk SET work_mem = '8MB';
ALTER ROLE clerk SET shop.motto = 'it''s a\backslash';
ALTER ROLE ALL SET DateStyle = 'ISO, YMD';
\if :v15
GRANT SET ON PARAMETER log_min_messages TO reader;
\endif
\if :v16
GRANT owner TO reader WITH INHERIT FALSE, SET FALSE;
\endif
CREATE DATABASE shop OWNER owner;
ALTER DATABASE shop SET timezone = 'Asia/Kuala_Lumpur';
ALTER DATABASE shop SET default_transaction_read_only = on;
ALTER ROLE clerk SET default_transaction_read_only = on;
\if :v17
ALTER DATABASE shop SET transaction_timeout = '1h';
\endif
ALTER DATABASE shop CONNECTION LIMIT 50;
ALTER ROLE clerk IN DATABASE shop SET datestyle = 'ISO, DMY';
REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO clerk WITH GRANT OPTION;
COMMENT ON DATABASE shop IS 'the shop''s';
CREATE DATABASE "Odd ""Name"".x/y" TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';

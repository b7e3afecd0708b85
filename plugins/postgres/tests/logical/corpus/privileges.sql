-- Privileges of the server's own types, whose names SQL writes otherwise than the catalogs.
CREATE ROLE a;
CREATE ROLE b;
REVOKE USAGE ON TYPE pg_catalog.timestamptz FROM PUBLIC;
REVOKE USAGE ON TYPE pg_catalog."char" FROM PUBLIC;
REVOKE USAGE ON TYPE pg_catalog.bpchar FROM PUBLIC;
GRANT USAGE ON TYPE pg_catalog.int4 TO a WITH GRANT OPTION;
CREATE TABLE of_row (n integer);
REVOKE USAGE ON TYPE of_row FROM PUBLIC;
CREATE DOMAIN "Odd Domain" AS integer;
GRANT USAGE ON DOMAIN "Odd Domain" TO b;

-- What goes with an extension without being part of it, and an extension whose comment was taken away.
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
COMMENT ON EXTENSION hstore IS NULL;
COMMENT ON EXTENSION citext IS 'somebody else''s words';
CREATE TABLE going (id integer PRIMARY KEY, c citext);
CREATE INDEX goes_too ON going (c);
ALTER INDEX goes_too DEPENDS ON EXTENSION citext;
ALTER INDEX going_pkey DEPENDS ON EXTENSION hstore;
CREATE MATERIALIZED VIEW goes AS SELECT c FROM going;
ALTER MATERIALIZED VIEW goes DEPENDS ON EXTENSION citext;
CREATE FUNCTION goes(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
ALTER FUNCTION goes(integer) DEPENDS ON EXTENSION citext;
ALTER FUNCTION goes(integer) DEPENDS ON EXTENSION hstore;
CREATE PROCEDURE going() LANGUAGE sql AS 'SELECT 1';
ALTER PROCEDURE going() DEPENDS ON EXTENSION hstore;
CREATE FUNCTION reacts() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER reacts BEFORE INSERT ON going FOR EACH ROW EXECUTE FUNCTION reacts();
ALTER TRIGGER reacts ON going DEPENDS ON EXTENSION citext;

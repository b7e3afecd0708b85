-- Parents and children that are backed up and restored one without the other.
CREATE EXTENSION citext;
CREATE TABLE parent (b text);
ALTER TABLE parent ALTER b SET STORAGE EXTERNAL;
CREATE TABLE child () INHERITS (parent);
CREATE TABLE remembers (p parent);
INSERT INTO parent VALUES ('b');
CREATE TABLE ev (e citext, n integer, CONSTRAINT not_empty CHECK (e <> ''::citext)) PARTITION BY LIST (n);
CREATE TABLE ev1 PARTITION OF ev FOR VALUES IN (1);
INSERT INTO ev VALUES ('x', 1);
CREATE FUNCTION ok(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';
CREATE TABLE old (n integer, CONSTRAINT ok CHECK (ok(n)));
CREATE TABLE young (n integer, CONSTRAINT ok CHECK (ok(n)));
ALTER TABLE young INHERIT old;
INSERT INTO young VALUES (1);

-- Children that differ from their parents, in what a child has of its parent when it is made.
CREATE TABLE parent (a integer NOT NULL, b text);
CREATE TABLE other (b text, c text);
CREATE TABLE child (d integer) INHERITS (parent, other);
CREATE TABLE grandchild () INHERITS (child);
-- A child may lose its parent's NOT NULL, and has rows that say so.
ALTER TABLE ONLY child ALTER COLUMN a DROP NOT NULL;
INSERT INTO child (a, b) VALUES (NULL, 'no a');
CREATE TABLE own_columns (b text, a integer NOT NULL);
ALTER TABLE own_columns INHERIT parent;
ALTER TABLE own_columns ALTER COLUMN a DROP NOT NULL;
INSERT INTO own_columns VALUES ('no a either', NULL);
ALTER TABLE ONLY other ALTER COLUMN c SET NOT NULL;
-- How columns are stored may differ between parents, which a child could not be made of as they are now.
ALTER TABLE ONLY parent ALTER COLUMN b SET STORAGE EXTERNAL;
ALTER TABLE ONLY other ALTER COLUMN b SET STORAGE MAIN;
ALTER TABLE ONLY grandchild ALTER COLUMN b SET STORAGE PLAIN;
SELECT current_setting('server_version_num')::int >= 140000 AS v14 \gset
\if :v14
ALTER TABLE ONLY parent ALTER COLUMN b SET COMPRESSION pglz;
\endif
CREATE MATERIALIZED VIEW stored AS SELECT 'x'::text AS t;
ALTER MATERIALIZED VIEW stored ALTER COLUMN t SET STORAGE EXTERNAL, ALTER COLUMN t SET STATISTICS 5, ALTER COLUMN t SET (n_distinct = -1);
-- A check of a parent calls a function that needs the parent.
CREATE TABLE counted (n integer);
CREATE TABLE counted_more () INHERITS (counted);
CREATE TABLE counted_too (n integer);
ALTER TABLE counted_too INHERIT counted;
\if :v14
CREATE FUNCTION fits(integer) RETURNS boolean LANGUAGE sql BEGIN ATOMIC SELECT count(*) < 100 FROM public.counted WHERE n = $1; END;
\else
CREATE FUNCTION fits(integer) RETURNS boolean LANGUAGE sql AS 'SELECT count(*) < 100 FROM public.counted WHERE n = $1';
\endif
ALTER TABLE counted ADD CONSTRAINT fits CHECK (fits(n));
ALTER TABLE counted_too ADD CONSTRAINT fits CHECK (fits(n));
ALTER TABLE counted_more ADD CONSTRAINT own CHECK (fits(n + 1)) NOT VALID;
INSERT INTO counted VALUES (1);
INSERT INTO counted_more VALUES (2);
COMMENT ON CONSTRAINT fits ON counted_more IS 'its parent''s';
CREATE TABLE parted (n integer, CONSTRAINT fits CHECK (fits(n))) PARTITION BY LIST (n);
CREATE TABLE parted_1 PARTITION OF parted (CONSTRAINT also CHECK (fits(n * 2))) FOR VALUES IN (1);
CREATE TABLE parted_2 (n integer, CONSTRAINT fits CHECK (fits(n)));
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
INSERT INTO parted VALUES (1), (2);
-- Parent and child have a check by the same function, and the child waits for a view.
CREATE FUNCTION ok(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE TABLE waited_for (n integer, CONSTRAINT ok CHECK (ok(n)));
CREATE VIEW seen AS SELECT 1 AS x;
CREATE TABLE waiting (n integer, v seen, CONSTRAINT ok CHECK (ok(n)));
ALTER TABLE waiting INHERIT waited_for;
-- A check of a table and of its partition calls a function that needs both.
CREATE TABLE few (n integer) PARTITION BY LIST (n);
CREATE TABLE few_1 PARTITION OF few FOR VALUES IN (1);
\if :v14
CREATE FUNCTION few(integer) RETURNS boolean LANGUAGE sql BEGIN ATOMIC SELECT (SELECT count(*) FROM public.few) + (SELECT count(*) FROM public.few_1) < 100 + $1; END;
\else
CREATE FUNCTION few(integer) RETURNS boolean LANGUAGE sql AS 'SELECT (SELECT count(*) FROM public.few) + (SELECT count(*) FROM public.few_1) < 100 + $1';
\endif
ALTER TABLE few ADD CONSTRAINT few CHECK (few(n));
INSERT INTO few VALUES (1);

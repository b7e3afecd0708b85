-- Names with all that may be in one: quotation marks of both kinds, line breaks, backslashes, dots, spaces; as long as it gets.
CREATE ROLE "it's ""me"", \ 
 really";
CREATE SCHEMA "a.b ""c""
d" AUTHORIZATION "it's ""me"", \ 
 really";
CREATE TABLE "a.b ""c""
d"."t""'\ 
x	é" ("c""'\
y" text, "\." text, "select" integer, "x23456789012345678901234567890123456789012345678901234567890123" integer);
INSERT INTO "a.b ""c""
d"."t""'\ 
x	é" VALUES ('a', '\.', 1, 2), (NULL, E'\n', 3, 4);
CREATE TABLE """" ("""" integer PRIMARY KEY, "
" integer REFERENCES """");
INSERT INTO """" VALUES (1, 1);
CREATE INDEX "i""
" ON """" ("""", "
") WHERE "
" > 0;
CREATE VIEW "v""
" AS SELECT "
" AS """" FROM """";
CREATE SEQUENCE "s""'\
q" OWNED BY """".""""; 
SELECT nextval('"s""''\
q"');
CREATE FUNCTION "f""
'"("p""
" integer DEFAULT 1) RETURNS integer LANGUAGE sql AS 'SELECT "p""
"';
COMMENT ON FUNCTION "f""
'"(integer) IS E'\\ '' \n --';
CREATE TYPE "e""
" AS ENUM ('"', '''', E'\n', '\', '');
CREATE TABLE "of e" (e "e""
"[]);
INSERT INTO "of e" VALUES (ARRAY['"', '''', E'\n', '\', '']::"e""
"[]);
GRANT SELECT ON """" TO "it's ""me"", \ 
 really";

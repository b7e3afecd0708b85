-- Views whose columns have types of views that can only be made after the rows: in themselves, in a composite type and in a domain. Nothing else needs those before the rows.
CREATE TABLE goods (id integer PRIMARY KEY, name text);
INSERT INTO goods SELECT n, 'goods ' || n FROM generate_series(1, 10) n;
CREATE VIEW grouped AS SELECT id, name, count(*) FROM goods GROUP BY id;
CREATE VIEW wrapped AS SELECT g, 1 AS one FROM grouped g;
CREATE TABLE remembered (w wrapped);
INSERT INTO remembered SELECT w FROM wrapped w;
CREATE VIEW again AS SELECT id, count(*) FROM goods GROUP BY id;
CREATE TYPE holder AS (a again, n integer);
CREATE VIEW held AS SELECT ROW(a, 1)::holder AS h FROM again a;
CREATE TABLE remembered_held (h held);
INSERT INTO remembered_held SELECT whole FROM held whole;
CREATE VIEW more AS SELECT id, max(name) AS name FROM goods GROUP BY id;
CREATE DOMAIN valued AS more;
CREATE VIEW of_domain AS SELECT m::valued AS v FROM more m;
CREATE TABLE remembered_of_domain (v of_domain);
INSERT INTO remembered_of_domain SELECT whole FROM of_domain whole;

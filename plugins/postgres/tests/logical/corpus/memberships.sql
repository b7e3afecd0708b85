-- From PostgreSQL 16 on, whoever grants a role has the right to from somebody, who may be another one by now than when it was granted.
CREATE ROLE granted;
CREATE ROLE a;
CREATE ROLE b;
CREATE ROLE c;
CREATE ROLE d;
GRANT granted TO a WITH ADMIN TRUE;
GRANT granted TO d WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
SET ROLE d;
GRANT granted TO b WITH ADMIN TRUE;
SET ROLE b;
GRANT granted TO c WITH INHERIT TRUE;
SET ROLE a;
GRANT granted TO b WITH ADMIN TRUE, SET FALSE;
SET ROLE d;
REVOKE granted FROM b;
RESET ROLE;

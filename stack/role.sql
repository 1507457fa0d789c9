-- The API's role and database in a fresh container: it owns its tables and is no superuser.
\set password `cat /run/secrets/database-password`
CREATE ROLE vitals LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
-- It may see who blocks whom: statements and states of other roles' sessions, no tables of theirs.
GRANT pg_read_all_stats TO vitals;
CREATE DATABASE vitals OWNER vitals;
REVOKE CONNECT ON DATABASE vitals FROM PUBLIC;
\connect vitals
-- For `vitals advise`, where the server has it.
SELECT 'CREATE EXTENSION hypopg'
WHERE EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hypopg') \gexec

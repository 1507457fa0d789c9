-- The API's role and database in a fresh container: it owns its tables and is no superuser.
\set password `cat /run/secrets/database-password`
CREATE ROLE vitals LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
-- It may see who blocks whom: statements and states of other roles' sessions, no tables of theirs.
GRANT pg_read_all_stats TO vitals;
CREATE DATABASE vitals OWNER vitals;
REVOKE CONNECT ON DATABASE vitals FROM PUBLIC;
-- The reader's role: it sees what the server says of itself, and no tables.
\set password `cat /run/secrets/monitor-password`
CREATE ROLE vitals_monitor LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION
    PASSWORD :'password';
GRANT pg_monitor TO vitals_monitor;
GRANT CONNECT ON DATABASE vitals TO vitals_monitor;
\connect vitals
-- For the reader.
CREATE EXTENSION pg_stat_statements;
-- For `vitals advise`, where the server has it.
SELECT 'CREATE EXTENSION hypopg'
WHERE EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hypopg') \gexec

-- The API's role and database in a fresh container: it owns its tables and is no superuser.
\set password `cat /run/secrets/database-password`
CREATE ROLE vitals LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
CREATE DATABASE vitals OWNER vitals;
REVOKE CONNECT ON DATABASE vitals FROM PUBLIC;

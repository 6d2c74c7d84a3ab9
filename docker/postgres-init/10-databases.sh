#!/usr/bin/env bash
# Gives every service a database and a user of its own, both named like the
# service, and closes each database to the other services' users.
# The postgres image runs this once, when the data folder is empty.
set -euo pipefail

create() {
  local name=$1 password=$2
  psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set name="$name" --set password="$password" <<'SQL'
create user :"name" password :'password';
create database :"name" owner :"name";
revoke connect on database :"name" from public;
SQL
}

# A service for each password that docker-compose.yml hands over.
for variable in $(compgen -e | grep '_DATABASE_PASSWORD$'); do
  name=${variable%_DATABASE_PASSWORD}
  create "${name,,}" "${!variable}"
done

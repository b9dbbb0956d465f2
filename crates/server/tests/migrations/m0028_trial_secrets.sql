UPDATE trials SET secret_hash = 'sha-256-of-a-secret' WHERE installation_id = 'an-installation';

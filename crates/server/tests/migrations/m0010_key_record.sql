INSERT INTO key_record (id, version, fingerprint, revoked) VALUES (1, 3, 'abc', '["a-key"]');

INSERT INTO usage_days (license_id, hardware_id, day, heartbeats, cameras, users, storage_gb, counts)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', 'abc', '2026-11-27', 2, NULL, 3, NULL, '{"doors": 2}');

INSERT INTO licenses (id, license_key, customer, customer_folded, tier, features, max_cameras, max_users, max_storage_gb, seats, status, created_at, updated_at)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a12', 'FXSGHT-3333-3333-3333-3333', 'MÜLLER', 'müller', 'standard', '[]', 16, 5, 2000, 1, 'active', '2026-11-24 12:00:00', '2026-11-24 12:00:00');

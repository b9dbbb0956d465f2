INSERT INTO licenses (id, license_key, customer, tier, features, max_cameras, max_users, max_storage_gb, seats, status, status_message, expires_at, created_at, updated_at)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', 'FXSGHT-2222-2222-2222-2222', 'Harbour Ltd', 'standard', '["module.map_view"]', 16, 5, 2000, 1, 'active', NULL, '2030-12-31 23:59:59', '2026-11-24 12:00:00', '2026-11-24 12:00:00');
INSERT INTO seats (license_id, hardware_id, installation_id, installation_name, installation_version, activated_at, last_seen_at, freed_at, last_seq, usage, system_info)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', 'old-machine', 'installation-1', 'Harbour', '1.0.0', '2026-11-24 12:00:00', '2026-11-24 12:00:00', '2026-11-25 12:00:00', 1795521500000, NULL, NULL);
INSERT INTO seats (license_id, hardware_id, installation_id, installation_name, installation_version, activated_at, last_seen_at, freed_at, last_seq, usage, system_info)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', 'new-machine', 'installation-2', 'Harbour', '1.0.0', '2026-11-25 12:00:00', '2026-11-25 12:00:00', NULL, 1795521600000, '{"camerasInUse": 3}', NULL);

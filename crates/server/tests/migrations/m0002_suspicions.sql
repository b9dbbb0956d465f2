UPDATE seats SET answered_seq = 1795521600000, behind_seq = 1795521500000, behind = 1, former_installation_id = 'an-installation' WHERE freed_at IS NULL;
INSERT INTO suspicions (license_id, hardware_id, kind, first_seen_at, last_seen_at, times)
SELECT license_id, hardware_id, 'shared_identity', '2026-11-01 00:00:00', '2026-11-02 00:00:00', 3 FROM seats WHERE freed_at IS NULL;

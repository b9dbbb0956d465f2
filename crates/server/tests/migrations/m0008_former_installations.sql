UPDATE seats SET former_installations = '[{"fingerprint":"abc","replacedAt":"2026-11-25T12:00:00Z"}]' WHERE freed_at IS NOT NULL;

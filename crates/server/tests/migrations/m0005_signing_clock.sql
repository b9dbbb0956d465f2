UPDATE signing_clock SET accepted_at = '2026-11-25 12:00:00';

UPDATE seats SET excused_amendment = 2 WHERE hardware_id = (SELECT MIN(hardware_id) FROM seats);

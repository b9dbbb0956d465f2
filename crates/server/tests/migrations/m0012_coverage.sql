UPDATE coverage SET version = 7, is_closed = TRUE;

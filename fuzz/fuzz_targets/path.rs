#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| license_hostile_input::path(data));

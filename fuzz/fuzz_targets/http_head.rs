#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (shopwire_fuzz::target("http_head").holds)(input));

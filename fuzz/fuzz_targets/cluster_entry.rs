#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (shopwire_fuzz::target("cluster_entry").holds)(input));

//! Tokens signed by key pairs: a PEM file, and a JWK set picked by `kid`.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use crate::harness::tokens::{SECRET, now_seconds, of, signed_by};
use crate::harness::{Client, Opening, Server, Setup};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/fixtures");

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}/{name}")).unwrap()
}

fn signed(algorithm: Algorithm, kid: Option<&str>) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    let claims = json!({"sub": "ann", "role": "customer", "exp": now_seconds() + 600});
    let key = match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&fixture("ed.pem")),
        Algorithm::ES256 => EncodingKey::from_ec_pem(&fixture("ec-P-256.pem")),
        _ => EncodingKey::from_rsa_pem(&fixture("rsa.pem")),
    };
    encode(&header, &claims, &key.unwrap()).unwrap()
}

fn status(server: &Server, token: &str) -> Option<u16> {
    Client::try_connect(server.address, Opening::new().bearer(token)).err()
}

fn with_public_key(name: &str) -> Server {
    Setup::new(&["--jwt-public-key", &format!("{FIXTURES}/{name}")])
        .without("--jwt-secret-file")
        .start()
}

#[test]
fn a_public_key_takes_its_own_algorithms_only() {
    use Algorithm::{ES256, EdDSA, HS256, PS256, RS256, RS512};
    for (file, taken) in [
        ("rsa.pub.pem", &[RS256, RS512, PS256][..]),
        ("ec-P-256.pub.pem", &[ES256]),
        ("ed.pub.pem", &[EdDSA]),
    ] {
        let server = with_public_key(file);
        for algorithm in [RS256, RS512, PS256, ES256, EdDSA] {
            let expected = (!taken.contains(&algorithm)).then_some(401);
            assert_eq!(
                status(&server, &signed(algorithm, None)),
                expected,
                "{algorithm:?} with {file}"
            );
        }
        // The public key's own text as an HMAC secret: the classic confusion.
        let public = String::from_utf8(fixture(file)).unwrap();
        let claims = json!({"sub": "ann", "role": "admin", "exp": now_seconds() + 600});
        for secret in [public.as_str(), public.trim_end()] {
            assert_eq!(
                status(&server, &signed_by(&claims, HS256, secret)),
                Some(401),
                "{file}"
            );
        }
        assert_eq!(
            status(&server, &of("ann", "admin")),
            Some(401),
            "no secret is configured"
        );
    }
}

#[test]
fn a_secret_and_a_public_key_may_be_configured_together() {
    let server = Server::with(&["--jwt-public-key", &format!("{FIXTURES}/ed.pub.pem")]);
    assert_eq!(status(&server, &of("ann", "customer")), None);
    assert_eq!(status(&server, &signed(Algorithm::EdDSA, None)), None);
    assert_eq!(status(&server, &signed(Algorithm::ES256, None)), Some(401));
}

#[test]
fn a_jwk_set_is_picked_from_by_kid() {
    let setup = Setup::new(&[]);
    let path = setup.dir().join("jwks.json");
    let ed = der_tail("ed.pub.pem", 32);
    let ec = der_tail("ec-P-256.pub.pem", 64);
    let set = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed-1", "use": "sig", "alg": "EdDSA", "x": base64url_of(&ed)},
        {"kty": "EC", "crv": "P-256", "kid": "ec-1", "use": "sig", "alg": "ES256", "x": base64url_of(&ec[..32]), "y": base64url_of(&ec[32..])},
    ]});
    std::fs::write(&path, set.to_string()).unwrap();
    let path = path.display().to_string();
    let server = Setup::new(&["--jwks-file", &path])
        .without("--jwt-secret-file")
        .start();
    assert_eq!(
        status(&server, &signed(Algorithm::EdDSA, Some("ed-1"))),
        None
    );
    assert_eq!(
        status(&server, &signed(Algorithm::ES256, Some("ec-1"))),
        None
    );
    assert_eq!(
        status(&server, &signed(Algorithm::EdDSA, Some("ec-1"))),
        Some(401),
        "another key's name"
    );
    assert_eq!(
        status(&server, &signed(Algorithm::EdDSA, Some("ed-2"))),
        Some(401),
        "no such key"
    );
    assert_eq!(
        status(&server, &signed(Algorithm::EdDSA, None)),
        Some(401),
        "which of the two?"
    );
    let claims = json!({"sub": "ann", "role": "admin", "exp": now_seconds() + 600});
    assert_eq!(
        status(&server, &signed_by(&claims, Algorithm::HS256, SECRET)),
        Some(401)
    );
}

/// The last bytes of a public key's DER: the bare key.
fn der_tail(file: &str, bytes: usize) -> Vec<u8> {
    let text = String::from_utf8(fixture(file)).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let mut bits = 0u32;
    let mut count = 0;
    let mut der = Vec::new();
    for digit in body.bytes().take_while(|byte| *byte != b'=') {
        let value = BASE64.iter().position(|known| *known == digit).unwrap() as u32;
        bits = bits << 6 | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            der.push((bits >> count) as u8);
        }
    }
    der.split_off(der.len() - bytes)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 for URLs, without padding.
pub fn base64url_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (at, byte)| {
            word | u32::from(*byte) << (16 - 8 * at)
        });
        for digit in 0..=chunk.len() {
            text.push(BASE64[(word >> (18 - 6 * digit)) as usize & 63] as char);
        }
    }
    text.replace('+', "-").replace('/', "_")
}

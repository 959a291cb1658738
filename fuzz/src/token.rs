//! Tokens that nobody signed: whatever is put together of good ones, of an attacker's own and of
//! anything else, only what the key's owner has signed is ever taken.

use std::sync::OnceLock;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde_json::{Value, json};
use shopwire::access::Role;
use shopwire::auth::{Identity, KeyFile, KeySettings, Secret, TokenError, Verifier};

pub const NOW: u64 = 1_700_000_000_000;
pub const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

const RSA: &[u8] = include_bytes!("../../src/auth/fixtures/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("../../src/auth/fixtures/rsa.pub.pem");
const EC: &[u8] = include_bytes!("../../src/auth/fixtures/ec-P-256.pem");
const EC_PUBLIC: &[u8] = include_bytes!("../../src/auth/fixtures/ec-P-256.pub.pem");
const ED: &[u8] = include_bytes!("../../src/auth/fixtures/ed.pem");
const ED_PUBLIC: &[u8] = include_bytes!("../../src/auth/fixtures/ed.pub.pem");

/// From here on a byte of the input stands for a part of one of the tokens.
const PARTS: u8 = 0x80;
/// Stands before the number of a part, a place in it, and the character that is put there.
const CHANGED: u8 = 0xFF;

struct Bench {
    verifier: Verifier,
    /// What the keys' owners have signed: the text and whose it is.
    signed: Vec<(String, Identity)>,
    /// Header, claims and signature of their tokens, and of the attacker's.
    parts: Vec<String>,
}

pub fn holds(input: &[u8]) {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    let bench = BENCH.get_or_init(Bench::new);
    let token = bench.token(input);
    match bench.verifier.verify(&token, NOW) {
        Ok(identity) => {
            let (text, _) = token.rsplit_once('.').unwrap();
            let signed = bench.signed.iter().find(|(signed, _)| signed == text);
            let Some((_, owner)) = signed else {
                panic!("nobody has signed {token}");
            };
            assert_eq!(identity, *owner);
        }
        Err(TokenError::Refused(sentence)) => {
            assert!(!sentence.is_empty() && !sentence.chars().any(char::is_control));
        }
        Err(TokenError::Expired) => panic!("nobody has signed one that ended: {token}"),
        Err(TokenError::Revoked) => panic!("nothing is revoked: {token}"),
    }
}

impl Bench {
    fn new() -> Bench {
        let jwk = |key: DecodingKey, kid: &str| {
            let mut jwk =
                serde_json::to_value(Jwk::from_decoding_key(&key, None).unwrap()).unwrap();
            jwk["kid"] = kid.into();
            jwk
        };
        let set = json!({"keys": [
            jwk(DecodingKey::from_ec_pem(EC_PUBLIC).unwrap(), "ec"),
            jwk(DecodingKey::from_ed_pem(ED_PUBLIC).unwrap(), "ed"),
        ]});
        let verifier = Verifier::new(&KeySettings {
            secrets: vec![Secret::new(SECRET.to_vec()).unwrap()],
            public_keys: vec![KeyFile::new("rsa.pem".into(), RSA_PUBLIC.to_vec())],
            jwks: Some(KeyFile::new(
                "set.json".into(),
                set.to_string().into_bytes(),
            )),
            ..KeySettings::default()
        });
        let mut bench = Bench {
            verifier: verifier.unwrap(),
            signed: Vec::new(),
            parts: Vec::new(),
        };
        use Algorithm::{ES256, EdDSA, HS256, PS256, RS256};
        let rsa = EncodingKey::from_rsa_pem(RSA).unwrap();
        bench.own(
            json!({"alg": "HS256"}),
            HS256,
            &EncodingKey::from_secret(SECRET),
        );
        bench.own(json!({"alg": "RS256"}), RS256, &rsa);
        bench.own(json!({"alg": "PS256"}), PS256, &rsa);
        let ec = EncodingKey::from_ec_pem(EC).unwrap();
        bench.own(json!({"alg": "ES256", "kid": "ec"}), ES256, &ec);
        let ed = EncodingKey::from_ed_pem(ED).unwrap();
        bench.own(json!({"alg": "EdDSA", "kid": "ed"}), EdDSA, &ed);
        for header in [
            json!({"alg": "HS256", "kid": "ec"}),
            json!({"alg": "HS384", "kid": "../../dev/null"}),
            json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "QUFB"}, "jku": "https://evil.example"}),
            json!({"alg": "RS256", "kid": "ed"}),
            json!({"alg": "none"}),
        ] {
            bench.attack(header);
        }
        bench
    }

    /// A token that its owner has signed.
    fn own(&mut self, header: Value, algorithm: Algorithm, key: &EncodingKey) {
        let user = format!("u-{}", self.signed.len());
        let claims = json!({"sub": user, "role": "customer", "exp": NOW / 1000 + 60});
        let text = signing_text(&header.to_string(), &claims.to_string());
        let signature = crypto::sign(text.as_bytes(), key, algorithm).unwrap();
        self.parts.extend(text.split('.').map(str::to_owned));
        self.parts.push(signature);
        let identity = Identity {
            user,
            role: Role::Customer,
            session: None,
            issued_at: None,
            expires_at: NOW + 60_000,
        };
        self.signed.push((text, identity));
    }

    /// A token that says that its bearer is admin, signed with what everybody knows.
    fn attack(&mut self, header: Value) {
        let claims = json!({"sub": "evil", "role": "admin", "exp": NOW / 1000 + 60});
        let text = signing_text(&header.to_string(), &claims.to_string());
        let key = EncodingKey::from_secret(RSA_PUBLIC);
        let signature = crypto::sign(text.as_bytes(), &key, Algorithm::HS256).unwrap();
        self.parts.extend(text.split('.').map(str::to_owned));
        self.parts.push(signature);
    }

    /// What the input stands for.
    fn token(&self, input: &[u8]) -> String {
        let mut token = String::new();
        let part = |number: u8| &self.parts[usize::from(number) % self.parts.len()];
        let mut rest = input;
        loop {
            rest = match rest {
                [] => return token,
                [CHANGED, number, at, new, rest @ ..] => {
                    let mut changed = part(*number).clone().into_bytes();
                    let at = usize::from(*at) % changed.len();
                    changed[at] = new & 0x7F;
                    token.extend(changed.iter().map(|byte| char::from(*byte)));
                    rest
                }
                [number, rest @ ..] if *number >= PARTS => {
                    token.push_str(part(number - PARTS));
                    rest
                }
                [plain, rest @ ..] => {
                    token.push(char::from(*plain));
                    rest
                }
            };
        }
    }
}

/// Header and claims as they are signed (RFC 7515 section 3.1).
pub fn signing_text(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.as_bytes())
    )
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    let (mut bits, mut held) = (0u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 6 {
            held -= 6;
            text.push(char::from(DIGITS[(bits >> held & 63) as usize]));
        }
    }
    if held > 0 {
        text.push(char::from(DIGITS[(bits << (6 - held) & 63) as usize]));
    }
    text
}

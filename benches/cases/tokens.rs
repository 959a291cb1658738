//! From a token to an identity, by the three usual kinds of key.
//!
//! The tokens of the key pairs were signed once, with the private keys beside the public ones: a
//! signature with an elliptic curve is another one each time, and so is the cost of checking it.

use std::hint::black_box;
use std::time::Duration;

use shopwire::access::Role;
use shopwire::auth::{KeyFile, KeySettings, Secret, Subject, Verifier, mint};

use super::Work;

const NOW_MS: u64 = 1_700_000_000_000;
const USER: &str = "cus-1";
const SESSION: &str = "ses-1";

const ES256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJjdXMtMSIsInJvbGUiOiJjdXN0b21lciIsInNpZCI6InNlcy0xIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ4MDB9.jOpkfevsH9345pKApaJ5KOVswtdnE1RNVx9IoczD6ZwA_qICrVfEWei-2RSu4jAMjGBEZ_e6qChKCnqeOXBhyg";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJjdXMtMSIsInJvbGUiOiJjdXN0b21lciIsInNpZCI6InNlcy0xIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ4MDB9.MJoLZ_3fraUCTbs0Hd8ks7H0mMmaKkOLOW9j1Z-BZCgS99ys0Xk-N0LCnCQoMJGZD3IvnAt0CXuLvuJ3wpxXnOwvbkJbseq-e5R28xzLXmtsHA4s2t0g7BDgIPrDikB7SNauzhzwbbtyi1xfTXSCAvygIQAUUvs-Ufmbzhce0vki7YS4Fs9MJIeT0hLTBdLwXgT_TOnMxAi476R_AqsShYee03TcXJV0XIicEu_lLXrar-Kn6WXYLJT7K4GGZLcd3XSK_l9yZvF3pRpyvFrGR_mxsKWYlyhAbRwXENv0vUwLxbbaeou3ihdhE0MbNABC52UROHxz_hquw_9ftMN3-w";

/// Checks a token that was signed with a shared secret.
pub fn hs256() -> Work {
    let secret = Secret::new(b"a secret for benchmarks, 32 bytes or more".to_vec());
    let keys = KeySettings {
        secrets: vec![secret.expect("the secret is long enough")],
        ..KeySettings::default()
    };
    let subject = Subject {
        user: USER,
        role: Role::Customer,
        session: Some(SESSION),
    };
    let token = mint(&keys, subject, Duration::from_secs(3600), NOW_MS);
    verify(&keys, token.expect("a token can be signed"))
}

/// Checks a token that was signed with a key on the curve P-256.
pub fn es256() -> Work {
    let key = include_bytes!("../../src/auth/fixtures/ec-P-256.pub.pem");
    verify(&public_key(key), ES256.to_owned())
}

/// Checks a token that was signed with an RSA key of 2048 bits.
pub fn rs256() -> Work {
    let key = include_bytes!("../../src/auth/fixtures/rsa.pub.pem");
    verify(&public_key(key), RS256.to_owned())
}

fn public_key(pem: &[u8]) -> KeySettings {
    KeySettings {
        public_keys: vec![KeyFile::new("key.pem".into(), pem.to_vec())],
        ..KeySettings::default()
    }
}

fn verify(keys: &KeySettings, token: String) -> Work {
    let verifier = Verifier::new(keys).expect("the key can be used");
    let identity = verifier
        .verify(&token, NOW_MS)
        .expect("the benchmark's own token is good");
    assert_eq!(identity.user, USER);
    assert_eq!(identity.role, Role::Customer);
    assert_eq!(identity.session.as_deref(), Some(SESSION));
    Box::new(move || {
        black_box(&verifier.verify(black_box(&token), NOW_MS));
    })
}

//! The rules for tokens one by one, and the known ways to cheat a verifier.
//!
//! The key pairs in `fixtures/` were made for these tests alone.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_700_000_000_000;
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const RSA_PUBLIC: &[u8] = include_bytes!("fixtures/rsa.pub.pem");
const EC_PUBLIC: &[u8] = include_bytes!("fixtures/ec-P-256.pub.pem");
const EC384_PUBLIC: &[u8] = include_bytes!("fixtures/ec-P-384.pub.pem");
const ED_PUBLIC: &[u8] = include_bytes!("fixtures/ed.pub.pem");

fn secret_keys() -> KeySettings {
    KeySettings {
        secret: Some(Secret::new(SECRET.to_vec()).unwrap()),
        ..KeySettings::default()
    }
}

fn pem_keys(pem: &[u8]) -> KeySettings {
    KeySettings {
        public_key_pem: Some((PathBuf::from("key.pem"), pem.to_vec())),
        ..Default::default()
    }
}

fn jwks_keys(keys: &[Value]) -> KeySettings {
    let set = json!({ "keys": keys }).to_string().into_bytes();
    KeySettings {
        jwks: Some((PathBuf::from("set.json"), set)),
        ..Default::default()
    }
}

fn jwk(key: DecodingKey, kid: Option<&str>) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_decoding_key(&key, None).unwrap()).unwrap();
    if let Some(kid) = kid {
        jwk["kid"] = kid.into();
    }
    jwk
}

fn private(algorithm: Algorithm) -> EncodingKey {
    use Algorithm::*;
    match algorithm {
        HS256 | HS384 | HS512 => EncodingKey::from_secret(SECRET),
        ES256 => EncodingKey::from_ec_pem(include_bytes!("fixtures/ec-P-256.pem")).unwrap(),
        ES384 => EncodingKey::from_ec_pem(include_bytes!("fixtures/ec-P-384.pem")).unwrap(),
        EdDSA => EncodingKey::from_ed_pem(include_bytes!("fixtures/ed.pem")).unwrap(),
        _ => EncodingKey::from_rsa_pem(include_bytes!("fixtures/rsa.pem")).unwrap(),
    }
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for index in 0..=chunk.len() {
            let sextet = (word >> (18 - 6 * index)) & 63;
            text.push(char::from(ALPHABET[sextet as usize]));
        }
    }
    text
}

/// A token of exactly these texts.
fn signed(header: &str, claims: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.as_bytes())
    );
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn token_with(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    signed(
        &header.to_string(),
        &claims.to_string(),
        algorithm,
        &private(algorithm),
    )
}

fn claims() -> Value {
    json!({"sub": "u-1", "role": "customer", "sid": "s-1", "exp": NOW / 1000 + 60})
}

/// [`claims`] with some of them changed; null takes one away.
fn claims_but(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    all
}

fn verify(keys: &KeySettings, token: &str) -> Result<Identity, TokenError> {
    Verifier::new(keys).unwrap().verify(token, NOW)
}

fn judge(claims: Value) -> Result<Identity, TokenError> {
    verify(&secret_keys(), &token_with(Algorithm::HS256, None, &claims))
}

fn refusal(result: Result<Identity, TokenError>) -> String {
    match result {
        Err(TokenError::Refused(sentence)) => sentence,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_good_token_becomes_an_identity() {
    let expected = Identity {
        user: "u-1".into(),
        role: Role::Customer,
        session: Some("s-1".into()),
        expires_at: NOW + 60_000,
    };
    assert_eq!(judge(claims()), Ok(expected.clone()));
    let other_names =
        json!({"userId": "u-1", "role": "customer", "sessionId": "s-1", "exp": NOW / 1000 + 60});
    assert_eq!(judge(other_names), Ok(expected));
}

#[test]
fn every_algorithm_works_with_its_own_key_and_no_other() {
    use Algorithm::*;
    let all = [
        HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA,
    ];
    let configured: [(KeySettings, &[Algorithm]); 5] = [
        (secret_keys(), &[HS256, HS384, HS512]),
        (
            pem_keys(RSA_PUBLIC),
            &[RS256, RS384, RS512, PS256, PS384, PS512],
        ),
        (pem_keys(EC_PUBLIC), &[ES256]),
        (pem_keys(EC384_PUBLIC), &[ES384]),
        (pem_keys(ED_PUBLIC), &[EdDSA]),
    ];
    for (keys, own) in &configured {
        for algorithm in all {
            let result = verify(keys, &token_with(algorithm, None, &claims()));
            assert_eq!(
                result.is_ok(),
                own.contains(&algorithm),
                "{algorithm:?} with {own:?}"
            );
        }
    }
}

#[test]
fn several_kinds_of_keys_stand_side_by_side() {
    let keys = KeySettings {
        public_key_pem: pem_keys(RSA_PUBLIC).public_key_pem,
        ..secret_keys()
    };
    assert!(verify(&keys, &token_with(Algorithm::HS256, None, &claims())).is_ok());
    assert!(verify(&keys, &token_with(Algorithm::RS256, None, &claims())).is_ok());
    refusal(verify(
        &keys,
        &token_with(Algorithm::ES256, None, &claims()),
    ));
}

#[test]
fn none_is_refused_however_it_is_written() {
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let header = base64url(json!({"alg": name, "typ": "JWT"}).to_string().as_bytes());
        let payload = base64url(claims().to_string().as_bytes());
        for token in [
            format!("{header}.{payload}."),
            format!("{header}.{payload}.AAAA"),
            format!("{header}.{payload}"),
        ] {
            refusal(verify(&secret_keys(), &token));
            refusal(verify(&pem_keys(RSA_PUBLIC), &token));
        }
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let as_secret = EncodingKey::from_secret(RSA_PUBLIC);
    let token = signed(
        r#"{"alg":"HS256"}"#,
        &claims().to_string(),
        Algorithm::HS256,
        &as_secret,
    );
    refusal(verify(&pem_keys(RSA_PUBLIC), &token));
    let both = KeySettings {
        public_key_pem: pem_keys(RSA_PUBLIC).public_key_pem,
        ..secret_keys()
    };
    refusal(verify(&both, &token));
    let set = jwks_keys(&[jwk(DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(), None)]);
    refusal(verify(&set, &token));
}

#[test]
fn another_secret_a_changed_payload_and_a_cut_signature_are_refused() {
    let other = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    let token = signed(
        r#"{"alg":"HS256"}"#,
        &claims().to_string(),
        Algorithm::HS256,
        &other,
    );
    refusal(verify(&secret_keys(), &token));

    let good = token_with(Algorithm::HS256, None, &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let admin = base64url(claims_but(json!({"role": "admin"})).to_string().as_bytes());
    refusal(verify(
        &secret_keys(),
        &format!("{}.{admin}.{}", parts[0], parts[2]),
    ));
    refusal(verify(
        &secret_keys(),
        &format!("{}.{}.", parts[0], parts[1]),
    ));
    refusal(verify(
        &secret_keys(),
        &format!("{}.{}.{}", parts[0], parts[1], &parts[2][..20]),
    ));
    refusal(verify(&secret_keys(), &format!("{good}.x")));
}

#[test]
fn a_key_in_the_header_is_not_believed() {
    let own = jwk(
        DecodingKey::from_secret(b"the attacker's own secret, 32 bytes!"),
        None,
    );
    let header = json!({"alg": "HS256", "jwk": own, "jku": "https://evil.example/keys"});
    let key = EncodingKey::from_secret(b"the attacker's own secret, 32 bytes!");
    let token = signed(
        &header.to_string(),
        &claims().to_string(),
        Algorithm::HS256,
        &key,
    );
    refusal(verify(&secret_keys(), &token));
}

#[test]
fn an_extension_in_the_header_is_refused() {
    let token = signed(
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        &claims().to_string(),
        Algorithm::HS256,
        &private(Algorithm::HS256),
    );
    assert!(refusal(verify(&secret_keys(), &token)).contains("crit"));
}

#[test]
fn a_set_is_searched_by_kid() {
    let ec = || jwk(DecodingKey::from_ec_pem(EC_PUBLIC).unwrap(), Some("ec"));
    let rsa = || jwk(DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(), Some("rsa"));
    let two = jwks_keys(&[ec(), rsa()]);
    assert!(verify(&two, &token_with(Algorithm::ES256, Some("ec"), &claims())).is_ok());
    assert!(verify(&two, &token_with(Algorithm::RS256, Some("rsa"), &claims())).is_ok());
    refusal(verify(
        &two,
        &token_with(Algorithm::ES256, Some("rsa"), &claims()),
    ));
    refusal(verify(
        &two,
        &token_with(Algorithm::ES256, Some("other"), &claims()),
    ));
    refusal(verify(&two, &token_with(Algorithm::ES256, None, &claims())));

    let one = jwks_keys(&[ec()]);
    assert!(verify(&one, &token_with(Algorithm::ES256, None, &claims())).is_ok());
    refusal(verify(
        &one,
        &token_with(Algorithm::ES256, Some("other"), &claims()),
    ));
}

#[test]
fn a_key_of_a_set_keeps_to_its_own_algorithm() {
    let mut rsa = jwk(DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(), None);
    rsa["alg"] = "RS512".into();
    let keys = jwks_keys(&[rsa]);
    assert!(verify(&keys, &token_with(Algorithm::RS512, None, &claims())).is_ok());
    refusal(verify(
        &keys,
        &token_with(Algorithm::RS256, None, &claims()),
    ));
}

#[test]
fn a_set_may_have_keys_that_are_not_ours_but_not_only_those() {
    let mut for_encryption = jwk(DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(), Some("enc"));
    for_encryption["use"] = "enc".into();
    let unknown = json!({"kty": "AKP", "kid": "x", "alg": "ML-DSA-44", "pub": "AAAA"});
    let curve = json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"});
    let ec = jwk(DecodingKey::from_ec_pem(EC_PUBLIC).unwrap(), Some("ec"));
    let mixed = [for_encryption.clone(), unknown.clone(), curve.clone(), ec];
    assert!(
        verify(
            &jwks_keys(&mixed),
            &token_with(Algorithm::ES256, Some("ec"), &claims())
        )
        .is_ok()
    );
    refusal(verify(
        &jwks_keys(&mixed),
        &token_with(Algorithm::RS256, Some("enc"), &claims()),
    ));

    assert!(Verifier::new(&jwks_keys(&mixed[..3])).is_err());
    assert!(Verifier::new(&jwks_keys(&[])).is_err());
    let short = jwk(DecodingKey::from_secret(b"short"), None);
    assert!(
        Verifier::new(&jwks_keys(&[short]))
            .err()
            .unwrap()
            .contains("32 bytes")
    );
    for text in ["", "{}", "[]", "{\"keys\":1}", "\u{feff}{\"keys\":[]}"] {
        assert!(check_jwks(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_pem_file_must_hold_a_public_key_that_is_strong_enough() {
    let cases: [(&[u8], &str); 6] = [
        (include_bytes!("fixtures/rsa.pem"), "private"),
        (include_bytes!("fixtures/ed.pem"), "private"),
        (include_bytes!("fixtures/rsa1024.pub.pem"), "2048"),
        (include_bytes!("fixtures/ec-P-521.pub.pem"), "not supported"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "certificate",
        ),
        (b"hello", "not a PEM"),
    ];
    for (pem, word) in cases {
        let sentence = check_public_key(pem).unwrap_err();
        assert!(sentence.contains(word), "{sentence}");
    }
    check_public_key(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap_err();
    check_public_key(b"").unwrap_err();
    check_public_key(b"\xff\xfe").unwrap_err();
}

#[test]
fn a_secret_has_32_bytes_and_is_never_shown() {
    assert!(Secret::new(vec![b'x'; 31]).unwrap_err().contains("32"));
    let secret = Secret::new(vec![b'x'; 32]).unwrap();
    assert!(!format!("{secret:?} {:?}", secret_keys()).contains("xx"));
    assert!(!format!("{:?}", secret_keys()).contains("secret of"));
    assert_ne!(Secret::random().unwrap(), Secret::random().unwrap());
}

#[test]
fn without_keys_every_token_is_refused() {
    let keys = KeySettings::default();
    assert!(keys.is_empty());
    refusal(verify(
        &keys,
        &token_with(Algorithm::HS256, None, &claims()),
    ));
}

#[test]
fn users_and_sessions_have_two_names_that_must_agree() {
    assert!(judge(claims_but(json!({"userId": "u-1"}))).is_ok());
    assert!(refusal(judge(claims_but(json!({"userId": "u-2"})))).contains("userId"));
    assert!(judge(claims_but(json!({"sessionId": "s-1"}))).is_ok());
    assert!(refusal(judge(claims_but(json!({"sessionId": "s-2"})))).contains("sessionId"));
    assert!(refusal(judge(claims_but(json!({"sub": null})))).contains("no user"));
    assert_eq!(
        judge(claims_but(json!({"sid": null}))).unwrap().session,
        None
    );
}

#[test]
fn ids_have_1_to_128_characters_and_no_control_characters() {
    for name in ["sub", "sid"] {
        for good in ["x".to_string(), "ü".repeat(128), "a b/ü😀".to_string()] {
            assert!(
                judge(claims_but(json!({name: good}))).is_ok(),
                "{name} {good}"
            );
        }
        for bad in [
            "".to_string(),
            "x".repeat(129),
            "a\nb".into(),
            "a\0".into(),
            "a\u{85}".into(),
        ] {
            assert!(refusal(judge(claims_but(json!({name: bad})))).contains(name));
        }
        for bad in [json!(1), json!(true)] {
            assert!(refusal(judge(claims_but(json!({name: bad})))).contains("must be a string"));
        }
        for bad in [json!(["x"]), json!({"id": "x"})] {
            refusal(judge(claims_but(json!({name: bad}))));
        }
    }
}

#[test]
fn the_role_is_one_of_five() {
    for role in Role::IN_TOKENS {
        assert_eq!(
            judge(claims_but(json!({"role": role.name()})))
                .unwrap()
                .role,
            role
        );
    }
    for bad in [
        json!("public"),
        json!("Admin"),
        json!("root"),
        json!(""),
        json!(["admin"]),
        json!(1),
        Value::Null,
    ] {
        assert!(refusal(judge(claims_but(json!({"role": bad})))).contains("role"));
    }
}

#[test]
fn exp_is_required_and_a_number() {
    assert!(refusal(judge(claims_but(json!({"exp": null})))).contains("no exp"));
    for bad in [
        json!("1800000000"),
        json!([]),
        json!({"a": 1}),
        json!(-1),
        json!(1e300),
        json!(true),
    ] {
        refusal(judge(claims_but(json!({"exp": bad}))));
    }
    let fraction = judge(claims_but(json!({"exp": 1_700_000_000.25}))).unwrap();
    assert_eq!(fraction.expires_at, NOW + 250);
}

#[test]
fn a_token_ends_at_exp_and_leeway_to_the_millisecond() {
    let token = token_with(Algorithm::HS256, None, &claims());
    let end = NOW + 60_000;
    let strict = Verifier::new(&secret_keys()).unwrap();
    assert!(strict.verify(&token, end - 1).is_ok());
    assert_eq!(strict.verify(&token, end), Err(TokenError::Expired));
    let keys = KeySettings {
        leeway: Duration::from_secs(30),
        ..secret_keys()
    };
    let forgiving = Verifier::new(&keys).unwrap();
    assert_eq!(forgiving.leeway(), Duration::from_secs(30));
    assert!(forgiving.verify(&token, end + 29_999).is_ok());
    assert_eq!(
        forgiving.verify(&token, end + 30_000),
        Err(TokenError::Expired)
    );
}

#[test]
fn only_an_otherwise_good_token_is_told_to_be_expired() {
    let old = claims_but(json!({"exp": 1, "role": "root"}));
    assert!(refusal(judge(old)).contains("role"));
    assert_eq!(
        judge(claims_but(json!({"exp": 1}))).unwrap_err().code(),
        "token_expired"
    );
}

#[test]
fn nbf_is_checked_if_it_is_there() {
    let at = |seconds: Value| judge(claims_but(json!({"nbf": seconds})));
    assert!(at(json!(NOW / 1000)).is_ok());
    assert!(refusal(at(json!(NOW / 1000 + 1))).contains("nbf"));
    assert!(refusal(at(json!("1"))).contains("nbf"));
    let keys = KeySettings {
        leeway: Duration::from_secs(1),
        ..secret_keys()
    };
    let soon = token_with(
        Algorithm::HS256,
        None,
        &claims_but(json!({"nbf": NOW / 1000 + 1})),
    );
    assert!(verify(&keys, &soon).is_ok());
}

#[test]
fn issuer_and_audience_are_checked_only_if_configured() {
    assert!(judge(claims_but(json!({"iss": "shop", "aud": ["a", "b"]}))).is_ok());
    let keys = KeySettings {
        issuer: Some("shop".into()),
        audience: Some("ws".into()),
        ..secret_keys()
    };
    let with = |iss: Value, aud: Value| {
        verify(
            &keys,
            &token_with(
                Algorithm::HS256,
                None,
                &claims_but(json!({"iss": iss, "aud": aud})),
            ),
        )
    };
    assert!(with(json!("shop"), json!("ws")).is_ok());
    assert!(with(json!("shop"), json!(["api", "ws"])).is_ok());
    for (iss, aud) in [
        (json!("other"), json!("ws")),
        (Value::Null, json!("ws")),
        (json!(["shop"]), json!("ws")),
        (json!("shop"), json!("other")),
        (json!("shop"), Value::Null),
        (json!("shop"), json!([])),
        (json!("shop"), json!({"ws": 1})),
    ] {
        refusal(with(iss, aud));
    }
}

#[test]
fn a_claim_that_is_there_twice_is_refused() {
    let key = private(Algorithm::HS256);
    for twice in [
        r#""role":"admin""#,
        r#""sub":"u-2""#,
        r#""exp":9999999999"#,
        r#""sid":"x""#,
    ] {
        let text = claims().to_string();
        let text = format!("{},{twice}}}", &text[..text.len() - 1]);
        refusal(verify(
            &secret_keys(),
            &signed(r#"{"alg":"HS256"}"#, &text, Algorithm::HS256, &key),
        ));
    }
    let header = r#"{"alg":"HS256","alg":"HS256"}"#;
    refusal(verify(
        &secret_keys(),
        &signed(header, &claims().to_string(), Algorithm::HS256, &key),
    ));
}

#[test]
fn claims_that_are_no_object_are_refused() {
    let key = private(Algorithm::HS256);
    for text in ["", "[]", "null", "1", "{", "{\"sub\":\"\u{0}\"}", "\"x\""] {
        refusal(verify(
            &secret_keys(),
            &signed(r#"{"alg":"HS256"}"#, text, Algorithm::HS256, &key),
        ));
    }
    let deep = format!("{{\"aud\":{}", "[".repeat(3000));
    refusal(verify(
        &secret_keys(),
        &signed(r#"{"alg":"HS256"}"#, &deep, Algorithm::HS256, &key),
    ));
}

#[test]
fn a_token_has_at_most_8_kib() {
    let padded = |bytes: usize| {
        token_with(
            Algorithm::HS256,
            None,
            &claims_but(json!({"pad": "x".repeat(bytes)})),
        )
    };
    assert!(padded(5_000).len() <= TOKEN_MAX_BYTES);
    assert!(verify(&secret_keys(), &padded(5_000)).is_ok());
    assert!(refusal(verify(&secret_keys(), &padded(7_000))).contains("8192"));
    refusal(verify(&secret_keys(), &"a.".repeat(1_000_000)));
}

#[test]
fn a_refusal_repeats_nothing_of_the_token() {
    let canary = "canary-canary";
    for claims in [
        claims_but(json!({"role": canary})),
        claims_but(json!({"sub": format!("{canary}\n")})),
        claims_but(json!({"sub": canary, "userId": "x"})),
        claims_but(json!({"exp": canary})),
    ] {
        assert!(!refusal(judge(claims)).contains("canary"));
    }
}

#[test]
fn a_minted_token_is_good_where_it_was_minted() {
    let keys = KeySettings {
        issuer: Some("shop".into()),
        audience: Some("ws".into()),
        ..secret_keys()
    };
    let subject = Subject {
        user: "u-1",
        role: Role::Staff,
        session: Some("s-1"),
    };
    let token = mint(&keys, subject, Duration::from_secs(3600), NOW + 1).unwrap();
    let identity = verify(&keys, &token).unwrap();
    assert_eq!(
        (identity.user.as_str(), identity.role),
        ("u-1", Role::Staff)
    );
    assert_eq!(identity.session.as_deref(), Some("s-1"));
    assert_eq!(identity.expires_at, NOW + 3_601_000);

    let short = mint(&keys, subject, Duration::from_millis(500), NOW).unwrap();
    assert_eq!(verify(&keys, &short).unwrap().expires_at, NOW + 500);
}

#[test]
fn what_would_be_refused_is_not_minted() {
    let mint_for = |keys: &KeySettings, user, role, session| {
        mint(
            keys,
            Subject {
                user,
                role,
                session,
            },
            Duration::from_secs(1),
            NOW,
        )
    };
    assert!(mint_for(&secret_keys(), "u", Role::Guest, None).is_ok());
    mint_for(&secret_keys(), "", Role::Guest, None).unwrap_err();
    mint_for(&secret_keys(), "u", Role::Guest, Some("\n")).unwrap_err();
    mint_for(&secret_keys(), "u", Role::Public, None).unwrap_err();
    mint_for(&pem_keys(RSA_PUBLIC), "u", Role::Guest, None).unwrap_err();
}

proptest! {
    #[test]
    fn garbage_is_refused_and_never_panics(token in "[A-Za-z0-9_.=-]{0,120}|.{0,60}") {
        prop_assert!(matches!(verify(&secret_keys(), &token), Err(TokenError::Refused(_))));
    }

    #[test]
    fn one_changed_character_spoils_a_token(at in 0usize..1000, new in "[A-Za-z0-9_-]") {
        let good = token_with(Algorithm::HS256, None, &claims());
        let at = at % (good.len() - 1);
        let mut bad = good.clone();
        bad.replace_range(at..=at, &new);
        prop_assume!(bad != good);
        prop_assert!(verify(&secret_keys(), &bad).is_err());
    }

    #[test]
    fn any_bytes_as_key_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(check_public_key(&bytes).is_err());
        prop_assert!(check_jwks(&bytes).is_err());
    }
}

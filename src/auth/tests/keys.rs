//! Which key may check which token, and the known ways to cheat that choice.

use super::*;

#[test]
fn a_good_token_becomes_an_identity() {
    let expected = Identity {
        user: "u-1".into(),
        role: Role::Customer,
        session: Some("s-1".into()),
        issued_at: None,
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
        public_keys: pem_keys(RSA_PUBLIC).public_keys,
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
fn any_of_several_secrets_and_public_keys_is_good() {
    let next = b"the secret that comes into use next";
    let both = KeySettings {
        secrets: vec![
            Secret::new(next.to_vec()).unwrap(),
            Secret::new(SECRET.to_vec()).unwrap(),
        ],
        ..KeySettings::default()
    };
    let old = token_with(Algorithm::HS256, None, &claims());
    let new = signed(
        r#"{"alg":"HS256"}"#,
        &claims().to_string(),
        Algorithm::HS256,
        &EncodingKey::from_secret(next),
    );
    for token in [&old, &new] {
        assert!(verify(&both, token).is_ok());
    }
    // Withdrawn, a secret's tokens are as anybody's.
    let withdrawn = KeySettings {
        secrets: both.secrets[..1].to_vec(),
        ..KeySettings::default()
    };
    assert!(verify(&withdrawn, &new).is_ok());
    assert!(refusal(verify(&withdrawn, &old)).contains("signature"));
    // The first one signs.
    let subject = Subject {
        user: "u-1",
        role: Role::Guest,
        session: None,
    };
    let made = mint(&both, subject, Duration::from_secs(60), NOW).unwrap();
    assert!(verify(&withdrawn, &made).is_ok());

    let explained = b"Two keys, the second one from May on.\n";
    let pem = [&explained[..], RSA_PUBLIC, b"\n", EC_PUBLIC].concat();
    let keys = KeySettings {
        public_keys: [pem_keys(&pem).public_keys, pem_keys(ED_PUBLIC).public_keys].concat(),
        ..KeySettings::default()
    };
    assert_eq!(Verifier::new(&keys).unwrap().keys(), 3);
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        // Any name: these keys have none.
        for kid in [None, Some("x")] {
            assert!(verify(&keys, &token_with(algorithm, kid, &claims())).is_ok());
        }
    }
    refusal(verify(
        &keys,
        &token_with(Algorithm::ES384, None, &claims()),
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
        public_keys: pem_keys(RSA_PUBLIC).public_keys,
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
    let cases: [(&[u8], &str); 9] = [
        (include_bytes!("../fixtures/rsa.pem"), "private"),
        (include_bytes!("../fixtures/ed.pem"), "private"),
        (include_bytes!("../fixtures/rsa1024.pub.pem"), "2048"),
        (
            include_bytes!("../fixtures/ec-P-521.pub.pem"),
            "P-256 (for ES256) and P-384",
        ),
        (
            include_bytes!("../fixtures/ec-secp256k1.pub.pem"),
            "P-256 (for ES256) and P-384",
        ),
        (include_bytes!("../fixtures/rsa2047.pub.pem"), "has 2047"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "certificate",
        ),
        (b"hello", "not a PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n", "block 1 has no end"),
    ];
    for (pem, word) in cases {
        let sentence = check_public_keys(pem).unwrap_err();
        assert!(sentence.contains(word), "{sentence}");
    }
    check_public_keys(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap_err();
    let mixed = [ED_PUBLIC, include_bytes!("../fixtures/rsa.pem")].concat();
    let sentence = check_public_keys(&mixed).unwrap_err();
    assert!(sentence.contains("block 2 holds a private"), "{sentence}");
    check_public_keys(b"").unwrap_err();
    check_public_keys(b"\xff\xfe").unwrap_err();
}

#[test]
fn a_key_that_others_may_have_is_no_secret() {
    let certificate = b"-----BEGIN CERTIFICATE-----\nAAAAAAAAAAAA\n-----END CERTIFICATE-----\n";
    let public = jwk(DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(), None);
    let set = json!({"keys": [public]}).to_string();
    for (bytes, word) in [
        (RSA_PUBLIC, "PEM"),
        (ED_PUBLIC, "PEM"),
        (certificate, "PEM"),
        (public.to_string().as_bytes(), "JSON Web Key"),
        (set.as_bytes(), "JSON Web Key"),
    ] {
        let sentence = Secret::new(bytes.to_vec()).unwrap_err();
        assert!(sentence.contains(word), "{sentence}");
        assert!(sentence.contains("jwt-public-key"), "{sentence}");
    }
    // Nor in DER, or its base64 alone, as some tools write it.
    for pem in [
        RSA_PUBLIC,
        EC_PUBLIC,
        EC384_PUBLIC,
        ED_PUBLIC,
        include_bytes!("../fixtures/rsa.pem"),
        include_bytes!("../fixtures/ec-P-256.pem"),
    ] {
        let text = std::str::from_utf8(pem).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('-')).collect();
        let bare = lines.concat().trim_end_matches('=').to_owned();
        let urlsafe = bare.replace('+', "-").replace('/', "_");
        let der = DecodingKey::from_base64_secret(&lines.concat()).unwrap();
        let der = der.try_get_as_bytes().unwrap();
        for bytes in [
            lines.concat().as_bytes(),
            lines.join("\n").as_bytes(),
            bare.as_bytes(),
            urlsafe.as_bytes(),
            der,
            &der[..der.len() - 1],
        ] {
            let sentence = Secret::new(bytes.to_vec()).unwrap_err();
            assert!(sentence.contains("DER"), "{sentence}");
        }
    }
    // Whatever else it looks like.
    let text = br#"{"a": "secret that looks like JSON text"}"#;
    assert!(Secret::new(text.to_vec()).is_ok());
}

#[test]
fn keys_of_a_set_that_anybody_or_nobody_could_sign_for_are_refused() {
    let rsa = jwk(DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(), None);
    let ec = jwk(DecodingKey::from_ec_pem(EC_PUBLIC).unwrap(), None);
    let ec384 = jwk(DecodingKey::from_ec_pem(EC384_PUBLIC).unwrap(), None);
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let swapped = |key: &Value| {
        let y = key["x"].clone();
        with(&with(key, "x", key["y"].clone()), "y", y)
    };
    let short = base64url(&[&[0; 128][..], &[0xFF; 128]].concat());
    let even = base64url(&[0xFE; 256]);
    for (key, word) in [
        (with(&rsa, "d", json!("AQAB")), "private"),
        (with(&ec, "d", json!("AQAB")), "private"),
        (with(&rsa, "e", json!("AQ")), "odd and more than 1"),
        (with(&rsa, "e", json!("AAAB")), "odd and more than 1"),
        (with(&rsa, "e", json!("Ag")), "odd and more than 1"),
        (with(&rsa, "e", json!("")), "missing"),
        (with(&rsa, "n", json!(short)), "2048"),
        (with(&rsa, "n", json!(even)), "even"),
        (swapped(&ec), "not on the curve"),
        (swapped(&ec384), "not on the curve"),
    ] {
        // The good one beside it does not help.
        let set = json!({"keys": [ec, key]}).to_string();
        let sentence = check_jwks(set.as_bytes()).unwrap_err();
        assert!(sentence.contains("key 2: "), "{sentence}");
        assert!(sentence.contains(word), "{word}: {sentence}");
    }
    // One of another kind is passed over, but its private part does not belong there either.
    let later = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "priv": "AAAA"});
    let set = json!({"keys": [ec, later]}).to_string();
    assert!(check_jwks(set.as_bytes()).unwrap_err().contains("private"));
}

#[test]
fn a_key_that_is_not_for_signatures_is_not_used() {
    let ec = || jwk(DecodingKey::from_ec_pem(EC_PUBLIC).unwrap(), Some("ec"));
    let token = token_with(Algorithm::ES256, Some("ec"), &claims());
    let other = jwk(DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(), Some("rsa"));
    for (name, value, is_used) in [
        ("use", json!("sig"), true),
        ("use", json!("enc"), false),
        ("key_ops", json!(["verify"]), true),
        ("key_ops", json!(["sign", "verify"]), true),
        ("key_ops", json!(["sign"]), false),
        ("key_ops", json!(["wrapKey"]), false),
        ("key_ops", json!([]), false),
    ] {
        let mut key = ec();
        key[name] = value.clone();
        let keys = jwks_keys(&[key.clone(), other.clone()]);
        assert_eq!(verify(&keys, &token).is_ok(), is_used, "{name}: {value}");
        let alone = json!({"keys": [key]}).to_string();
        match check_jwks(alone.as_bytes()) {
            Ok(()) => assert!(is_used, "{name}: {value}"),
            Err(sentence) => assert!(sentence.contains(name), "{sentence}"),
        }
    }
}

#[test]
fn a_secret_has_32_bytes_and_is_never_shown() {
    let xs = b"xx 345678901234567890123456789 xx";
    assert!(Secret::new(xs[..31].to_vec()).unwrap_err().contains("32"));
    let secret = Secret::new(xs[..32].to_vec()).unwrap();
    assert!(!format!("{secret:?} {:?}", secret_keys()).contains("xx"));
    assert!(!format!("{:?}", secret_keys()).contains("secret of"));
    let set = jwks_keys(&[jwk(DecodingKey::from_secret(SECRET), None)]);
    assert_eq!(
        format!("{:?}", set.jwks),
        "Some(KeyFile(\"set.json\"))",
        "a set may hold secrets"
    );
    assert_ne!(Secret::random().unwrap(), Secret::random().unwrap());
}

#[test]
fn a_secret_that_is_hardly_random_is_refused() {
    for byte in [0, b'\n', b' ', b'x', 0xFF] {
        let sentence = Secret::new(vec![byte; 64]).unwrap_err();
        assert!(sentence.contains("8 different"), "{sentence}");
    }
    assert!(Secret::new(b"1234567".repeat(9)).is_err());
    assert!(Secret::new(b"12345678".repeat(4)).is_ok());
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

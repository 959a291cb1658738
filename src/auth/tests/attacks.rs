//! What is tried against servers that check tokens: each has let somebody in somewhere. Those that are
//! about the choice of the key are in `keys`, those about claims in `claims`; docs/security.md lists them
//! all.

use super::*;

/// A token of an attacker who has no key of ours.
fn forged(header: &Value, key: &[u8]) -> String {
    let claims = claims_but(json!({"role": "admin"})).to_string();
    let key = EncodingKey::from_secret(key);
    signed(&header.to_string(), &claims, Algorithm::HS256, &key)
}

/// All kinds of keys at once, so that there is something to confuse.
fn all_keys() -> KeySettings {
    let set = [
        jwk(DecodingKey::from_ec_pem(EC_PUBLIC).unwrap(), Some("ec")),
        jwk(DecodingKey::from_ed_pem(ED_PUBLIC).unwrap(), Some("ed")),
    ];
    KeySettings {
        public_keys: pem_keys(RSA_PUBLIC).public_keys,
        jwks: jwks_keys(&set).jwks,
        ..secret_keys()
    }
}

#[test]
fn a_kid_is_a_name_and_nothing_that_is_looked_up_or_run() {
    for kid in [
        "../../../../dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "ec' UNION SELECT 'key' --",
        "ec|sleep 10",
        "https://evil.example/key",
        "ec\0",
        "EC",
        " ec",
        "",
        &"k".repeat(4000),
    ] {
        // An empty file, a zero and a word that was selected are the keys that such attackers hope for.
        for key in [&b""[..], b"\0", b"0\n", b"key"] {
            let token = forged(&json!({"alg": "HS256", "kid": kid}), key);
            refusal(verify(&all_keys(), &token));
        }
        let token = token_with(Algorithm::ES256, Some(kid), &claims());
        refusal(verify(&all_keys(), &token));
    }
    for kid in [json!(1), json!(["ec"]), json!({"ec": 1}), json!(true)] {
        refusal(verify(
            &all_keys(),
            &forged(&json!({"alg": "HS256", "kid": kid}), b""),
        ));
    }
}

#[test]
fn a_kid_does_not_lead_a_token_to_a_key_of_another_kind() {
    for (algorithm, kid) in [
        (Algorithm::ES256, "ed"),
        (Algorithm::EdDSA, "ec"),
        (Algorithm::ES384, "ec"),
    ] {
        refusal(verify(
            &all_keys(),
            &token_with(algorithm, Some(kid), &claims()),
        ));
    }
    let right = token_with(Algorithm::EdDSA, Some("ed"), &claims());
    assert!(verify(&all_keys(), &right).is_ok());
}

#[test]
fn no_key_and_no_address_of_one_in_the_header_is_believed() {
    let own = b"the attacker's own secret, 32 bytes!";
    let jwk = jwk(DecodingKey::from_secret(own), Some("ec"));
    for name in ["jku", "x5u"] {
        let header = json!({"alg": "HS256", name: "https://evil.example/keys", "jwk": jwk});
        refusal(verify(&all_keys(), &forged(&header, own)));
    }
    for header in [
        json!({"alg": "HS256", "x5c": ["MIIB"], "x5t": "AAAA", "x5t#S256": "AAAA"}),
        json!({"alg": "HS256", "k": base64url(own), "kty": "oct"}),
        json!({"alg": "HS256", "kid": "ec", "jwk": jwk}),
    ] {
        refusal(verify(&all_keys(), &forged(&header, own)));
    }
}

#[test]
fn no_form_of_a_public_key_is_a_secret() {
    let der = |pem: &[u8]| {
        let text = std::str::from_utf8(pem).unwrap();
        text.lines()
            .filter(|line| !line.starts_with('-'))
            .collect::<String>()
    };
    for public in [RSA_PUBLIC, EC_PUBLIC, ED_PUBLIC] {
        let without_end = public.strip_suffix(b"\n").unwrap();
        for secret in [public, without_end, der(public).as_bytes()] {
            for header in [
                json!({"alg": "HS256"}),
                json!({"alg": "HS256", "kid": "ec"}),
                json!({"alg": "RS256"}),
                json!({"alg": "ES256", "kid": "ec"}),
            ] {
                refusal(verify(&all_keys(), &forged(&header, secret)));
            }
        }
    }
}

#[test]
fn a_signature_is_good_for_its_own_algorithm_alone() {
    use Algorithm::*;
    let all = [
        HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512,
    ];
    for signs in all {
        for says in all {
            let header = json!({"alg": format!("{says:?}")});
            let key = private(signs);
            let token = signed(&header.to_string(), &claims().to_string(), signs, &key);
            assert_eq!(
                verify(&all_keys(), &token).is_ok(),
                signs == says,
                "{says:?} signed by {signs:?}"
            );
        }
    }
}

#[test]
fn a_signature_of_zeros_is_none() {
    for (algorithm, kid, len) in [
        ("ES256", Some("ec"), 64),
        ("EdDSA", Some("ed"), 64),
        ("RS256", None, 256),
        ("PS256", None, 256),
        ("HS256", None, 32),
    ] {
        let mut header = json!({"alg": algorithm});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let (header, claims) = (header.to_string(), claims().to_string());
        let text = format!(
            "{}.{}",
            base64url(header.as_bytes()),
            base64url(claims.as_bytes())
        );
        for signature in [vec![0; len], vec![0xFF; len], vec![0; 1], Vec::new()] {
            refusal(verify(
                &all_keys(),
                &format!("{text}.{}", base64url(&signature)),
            ));
        }
    }
}

#[test]
fn a_token_is_written_in_one_way_only() {
    let good = token_with(Algorithm::HS256, None, &claims());
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}");
    };
    let json = json!({"protected": header, "payload": claims, "signature": signature});
    for other in [
        format!("{good}="),
        format!("{header}=.{claims}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{header}.{claims}.{signature}."),
        format!("{header}..{claims}.{signature}"),
        format!("{header}.{claims}.{signature}.AAAA.AAAA"),
        good.replace('.', "%2e"),
        format!("Bearer {good}"),
        json.to_string(),
    ] {
        refusal(verify(&secret_keys(), &other));
    }
    // The last digit of 32 bytes has two bits to spare.
    let last = signature.chars().last().unwrap();
    for spare in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        if spare != last {
            let other = format!(
                "{header}.{claims}.{}{spare}",
                &signature[..signature.len() - 1]
            );
            refusal(verify(&secret_keys(), &other));
        }
    }
}

#[test]
fn an_encrypted_token_is_none() {
    let header = base64url(br#"{"alg":"dir","enc":"A128GCM"}"#);
    refusal(verify(&all_keys(), &format!("{header}..AAAA.AAAA.AAAA")));
    let header = base64url(br#"{"alg":"RSA-OAEP","enc":"A128GCM","kid":"ec"}"#);
    refusal(verify(
        &all_keys(),
        &format!("{header}.AAAA.AAAA.AAAA.AAAA"),
    ));
}

#[test]
fn a_header_that_says_something_twice_is_refused() {
    let key = private(Algorithm::HS256);
    for header in [
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256","\u0061lg":"HS256"}"#,
        r#"["JWT","HS256"]"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS256 "}"#,
        r#"{"typ":"JWT"}"#,
    ] {
        let token = signed(header, &claims().to_string(), Algorithm::HS256, &key);
        refusal(verify(&secret_keys(), &token));
    }
}

#[test]
fn claims_by_position_are_refused() {
    let key = private(Algorithm::HS256);
    let text = json!([
        "u-1",
        null,
        "admin",
        null,
        null,
        NOW / 1000 + 60,
        null,
        null,
        null
    ]);
    let token = signed(
        r#"{"alg":"HS256"}"#,
        &text.to_string(),
        Algorithm::HS256,
        &key,
    );
    refusal(verify(&secret_keys(), &token));
}

#[test]
fn a_claim_cannot_name_more_than_one_role() {
    for role in [
        json!("admin customer"),
        json!("admin,customer"),
        json!("customer\0admin"),
        json!("ADMIN"),
        json!("admin "),
        json!({"admin": true}),
        json!(["customer", "admin"]),
    ] {
        refusal(judge(claims_but(json!({"role": role}))));
    }
    // What other systems call it is passed over, and makes nobody more than the role does.
    let more = json!({"roles": ["admin"], "scope": "admin", "isAdmin": true, "Role": "admin"});
    assert_eq!(judge(claims_but(more)).unwrap().role, Role::Customer);
}

#[test]
fn no_end_is_beyond_reach_and_none_is_forgotten() {
    for exp in [
        json!("1700000060"),
        json!(null),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(9_007_199_254_741u64),
        json!([1_700_000_060]),
        json!(true),
    ] {
        refusal(judge(claims_but(json!({"exp": exp}))));
    }
    let last = judge(claims_but(json!({"exp": 9_007_199_254_740u64}))).unwrap();
    assert_eq!(last.expires_at, 9_007_199_254_740_000);
    // With the longest leeway, too.
    let keys = KeySettings {
        leeway: Duration::MAX,
        ..secret_keys()
    };
    let token = token_with(
        Algorithm::HS256,
        None,
        &claims_but(json!({"exp": 1, "nbf": 1})),
    );
    assert!(verify(&keys, &token).is_ok());
}

//! The rules for claims one by one, and tokens from nowhere.

use proptest::prelude::*;

use super::*;

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
fn a_token_that_is_dated_ahead_is_refused() {
    let made = |seconds: Value| claims_but(json!({"iat": seconds}));
    let at = |seconds: Value| judge(made(seconds)).map(|identity| identity.issued_at);
    assert_eq!(at(json!(NOW / 1000)), Ok(Some(NOW)));
    assert!(refusal(judge(made(json!(NOW / 1000 + 1)))).contains("iat"));
    // What is no time says nothing.
    for none in [json!("1"), json!(1e300), json!(-1)] {
        assert_eq!(at(none), Ok(None));
    }
    let keys = KeySettings {
        leeway: Duration::from_secs(1),
        ..secret_keys()
    };
    for (ahead, is_good) in [(1, true), (2, false)] {
        let claims = made(json!(NOW / 1000 + ahead));
        let token = token_with(Algorithm::HS256, None, &claims);
        assert_eq!(verify(&keys, &token).is_ok(), is_good, "{ahead} s");
    }
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
        prop_assert!(check_public_keys(&bytes).is_err());
        prop_assert!(check_jwks(&bytes).is_err());
    }
}

//! The server's own pass beside the configured keys.

use std::sync::Arc;

use super::*;
use crate::access::Role;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn the_servers_own_pass_is_good_for_one_user_alone() {
    let pass = Arc::new(OwnPass::new("canary").unwrap());
    let token = pass.token(Role::Admin, HOUR, NOW).unwrap();
    // Whatever is configured, also what other tokens have to say.
    let strict = KeySettings {
        issuer: Some("shop".into()),
        audience: Some("ws".into()),
        ..pem_keys(RSA_PUBLIC)
    };
    for keys in [secret_keys(), strict] {
        let verifier = Verifier::new(&keys).unwrap();
        assert!(verifier.verify(&token, NOW).is_err(), "nobody knows it");
        let verifier = verifier.knowing(Some(Arc::clone(&pass)));
        let identity = verifier.verify(&token, NOW).unwrap();
        assert_eq!(
            (identity.user.as_str(), identity.role),
            (pass.user(), Role::Admin)
        );
        let end = NOW + HOUR.as_millis() as u64;
        assert!(verifier.verify(&token, end).is_err(), "it ends");
        // The same key for somebody else, and the pass of another run.
        let subject = Subject {
            user: "ann",
            role: Role::Admin,
            session: None,
        };
        let forged = mint(&pass.keys, subject, HOUR, NOW).unwrap();
        assert!(verifier.verify(&forged, NOW).is_err());
        let other = OwnPass::new("canary").unwrap();
        assert_ne!(other.user(), pass.user());
        let token = other.token(Role::Admin, HOUR, NOW).unwrap();
        assert!(verifier.verify(&token, NOW).is_err());
    }
}

//! JSON Web Tokens, ES256 alone: signed and verified with the cluster's token key. Knows no claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Value, json};

/// Signs claims.
///
/// # Errors
/// When the system's generator of randomness fails.
pub fn sign(key: &EcdsaKeyPair, claims: &Value) -> Result<String, ring::error::Unspecified> {
    let header = json!({ "alg": "ES256", "kid": key_id(key) });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Returns the claims of a token that `key` has signed.
pub fn verify(key: &EcdsaKeyPair, token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    if header["alg"] != "ES256" {
        return None;
    }
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
    public.verify(signed.as_bytes(), &decode(signature)?).ok()?;
    serde_json::from_slice(&decode(claims)?).ok()
}

/// Returns the public key as a JSON Web Key.
pub fn public_jwk(key: &EcdsaKeyPair) -> Value {
    // An uncompressed point: 4, x, y.
    let point = key.public_key().as_ref();
    let part = |from: usize, to: usize| URL_SAFE_NO_PAD.encode(point.get(from..to).unwrap_or_default());
    json!({ "use": "sig", "kty": "EC", "kid": key_id(key), "crv": "P-256", "alg": "ES256",
        "x": part(1, 33), "y": part(33, 65) })
}

fn key_id(key: &EcdsaKeyPair) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, key.public_key().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::pki::Pki;

    #[test]
    fn only_what_was_signed_with_the_key_and_not_changed_is_good() {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let (ours, theirs) = (Pki::generate(&[], now).unwrap(), Pki::generate(&[], now).unwrap());
        let token = sign(ours.token_key(), &json!({"sub": "jane"})).unwrap();
        assert_eq!(verify(ours.token_key(), &token).unwrap()["sub"], "jane");
        assert!(verify(theirs.token_key(), &token).is_none());
        let parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(r#"{"sub":"root"}"#);
        assert!(verify(ours.token_key(), &format!("{}.{forged}.{}", parts[0], parts[2])).is_none());
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        assert!(verify(ours.token_key(), &format!("{none}.{}.", parts[1])).is_none());
        assert!(verify(ours.token_key(), "a.b").is_none());
    }
}

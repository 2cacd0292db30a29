//! The providers: identity, AES-CBC, AES-GCM, secretbox; each with its keys, of which the first writes.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{AesGcm, Nonce};
use crypto_secretbox::XSalsa20Poly1305;

use super::is_sealed;
use crate::sim::random;

/// A key with its name.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) secret: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One provider of a list.
#[derive(Debug, Clone)]
pub(super) enum Provider {
    Identity,
    AesCbc(Vec<Key>),
    AesGcm(Vec<Key>),
    Secretbox(Vec<Key>),
}

impl Provider {
    /// Returns what its values begin with, and its keys.
    fn keys(&self) -> Option<(&'static str, &[Key])> {
        match self {
            Self::Identity => None,
            Self::AesCbc(keys) => Some(("k8s:enc:aescbc:v1:", keys)),
            Self::AesGcm(keys) => Some(("k8s:enc:aesgcm:v1:", keys)),
            Self::Secretbox(keys) => Some(("k8s:enc:secretbox:v1:", keys)),
        }
    }

    /// Encrypts a value by the first key; identity leaves it as it is.
    pub(super) fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let (prefix, keys) = self.keys()?;
        let key = keys.first()?;
        let mut sealed = format!("{prefix}{}:", key.name).into_bytes();
        sealed.extend(match self {
            Self::Identity => return None,
            Self::AesCbc(_) => cbc_seal(&key.secret, plain)?,
            Self::AesGcm(_) => gcm_seal(&key.secret, context, plain)?,
            Self::Secretbox(_) => box_seal(&key.secret, plain)?,
        });
        Some(sealed)
    }

    /// Tells whether a value is as this provider would write it.
    pub(super) fn wrote(&self, stored: &[u8]) -> bool {
        match self.keys() {
            None => !is_sealed(stored),
            Some((prefix, keys)) => keys
                .first()
                .is_some_and(|key| stored.starts_with(format!("{prefix}{}:", key.name).as_bytes())),
        }
    }

    /// Decrypts a value; `None` when it is another provider's, an error in upstream's words when no key opens it.
    pub(super) fn unseal(&self, context: &[u8], stored: &[u8]) -> Option<Result<Vec<u8>, String>> {
        let Some((prefix, keys)) = self.keys() else {
            return (!is_sealed(stored)).then(|| Ok(stored.to_vec()));
        };
        let rest = stored.strip_prefix(prefix.as_bytes())?;
        let sealed_with = |key: &&Key| rest.starts_with(format!("{}:", key.name).as_bytes());
        let Some(key) = keys.iter().find(sealed_with) else {
            let kind = if matches!(self, Self::Secretbox(_)) { "Secretbox" } else { "AES" };
            return Some(Err(format!("no matching key was found for the provided {kind} transformer")));
        };
        let sealed = &rest[key.name.len() + 1..];
        let opened = match self {
            Self::Identity => return None,
            Self::AesCbc(_) => cbc_unseal(&key.secret, sealed).ok_or("invalid padding on input"),
            Self::AesGcm(_) => {
                gcm_unseal(&key.secret, context, sealed).ok_or("cipher: message authentication failed")
            }
            Self::Secretbox(_) => {
                box_unseal(&key.secret, sealed).ok_or("output array was not large enough for encryption")
            }
        };
        Some(opened.map_err(str::to_owned))
    }
}

fn cbc_seal(key: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    fn seal<C: BlockCipher>(key: &[u8], iv: &[u8], plain: &[u8]) -> Option<Vec<u8>>
    where
        cbc::Encryptor<C>: KeyIvInit,
    {
        Some(cbc::Encryptor::<C>::new_from_slices(key, iv).ok()?.encrypt_padded_vec_mut::<Pkcs7>(plain))
    }
    let iv = random::bytes::<16>();
    let sealed = match key.len() {
        16 => seal::<Aes128>(key, &iv, plain)?,
        24 => seal::<Aes192>(key, &iv, plain)?,
        _ => seal::<Aes256>(key, &iv, plain)?,
    };
    Some([iv.as_slice(), &sealed].concat())
}

fn cbc_unseal(key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    fn unseal<C: BlockCipher>(key: &[u8], iv: &[u8], sealed: &[u8]) -> Option<Vec<u8>>
    where
        cbc::Decryptor<C>: KeyIvInit,
    {
        cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?.decrypt_padded_vec_mut::<Pkcs7>(sealed).ok()
    }
    let (iv, sealed) = sealed.split_at_checked(16)?;
    match key.len() {
        16 => unseal::<Aes128>(key, iv, sealed),
        24 => unseal::<Aes192>(key, iv, sealed),
        _ => unseal::<Aes256>(key, iv, sealed),
    }
}

/// What CBC asks of a cipher.
trait BlockCipher:
    aes::cipher::BlockCipher + aes::cipher::BlockEncryptMut + aes::cipher::BlockDecryptMut + KeyInit
{
}

impl<C> BlockCipher for C where
    C: aes::cipher::BlockCipher + aes::cipher::BlockEncryptMut + aes::cipher::BlockDecryptMut + KeyInit
{
}

/// AES-GCM of any size.
trait Gcm {
    fn seal(&self, nonce: &[u8], payload: Payload<'_, '_>) -> Option<Vec<u8>>;
    fn unseal(&self, nonce: &[u8], payload: Payload<'_, '_>) -> Option<Vec<u8>>;
}

impl<C: Aead<NonceSize = U12>> Gcm for C {
    fn seal(&self, nonce: &[u8], payload: Payload<'_, '_>) -> Option<Vec<u8>> {
        self.encrypt(Nonce::from_slice(nonce), payload).ok()
    }

    fn unseal(&self, nonce: &[u8], payload: Payload<'_, '_>) -> Option<Vec<u8>> {
        self.decrypt(Nonce::from_slice(nonce), payload).ok()
    }
}

fn gcm(key: &[u8]) -> Option<Box<dyn Gcm>> {
    Some(match key.len() {
        16 => Box::new(AesGcm::<Aes128, U12>::new_from_slice(key).ok()?),
        24 => Box::new(AesGcm::<Aes192, U12>::new_from_slice(key).ok()?),
        _ => Box::new(AesGcm::<Aes256, U12>::new_from_slice(key).ok()?),
    })
}

fn gcm_seal(key: &[u8], context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let nonce = random::bytes::<12>();
    let sealed = gcm(key)?.seal(&nonce, Payload { msg: plain, aad: context })?;
    Some([nonce.as_slice(), &sealed].concat())
}

fn gcm_unseal(key: &[u8], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(12)?;
    gcm(key)?.unseal(nonce, Payload { msg: sealed, aad: context })
}

fn box_seal(key: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let nonce = random::bytes::<24>();
    let sealed = XSalsa20Poly1305::new_from_slice(key).ok()?.encrypt((&nonce).into(), plain).ok()?;
    Some([nonce.as_slice(), &sealed].concat())
}

fn box_unseal(key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(24)?;
    XSalsa20Poly1305::new_from_slice(key).ok()?.decrypt(nonce.into(), sealed).ok()
}

//! Certificates and keys out of PEM texts, and who signed whom.

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;

/// Takes all certificates out of a PEM text.
pub(super) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut ders = Vec::new();
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let block = block.map_err(|error| format!("no PEM: {error}"))?;
        if block.label == "CERTIFICATE" {
            ders.push(block.contents);
        }
    }
    if ders.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(ders)
}

/// Parses a certificate.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("bytes after the certificate".to_owned()),
        Err(error) => Err(format!("no certificate: {error}")),
    }
}

/// Finds a way from a certificate over others to one of the authorities, each signed by the next.
pub(super) fn leads(
    own: &X509Certificate<'_>,
    others: &[X509Certificate<'_>],
    authorities: &[X509Certificate<'_>],
) -> Result<(), String> {
    let mut current = own;
    // More than these would go in circles.
    for _ in 0..=others.len() {
        if authorities.iter().any(|authority| signed(current, authority) || same(current, authority)) {
            return Ok(());
        }
        match others.iter().find(|other| !same(current, other) && signed(current, other)) {
            Some(next) => current = next,
            None => break,
        }
    }
    let same_name =
        authorities.iter().any(|authority| authority.subject().as_raw() == current.issuer().as_raw());
    Err(match same_name {
        true => format!("signed by another key than that of `{}`", current.issuer()),
        false => format!("signed by `{}`", current.issuer()),
    })
}

fn signed(of: &X509Certificate<'_>, by: &X509Certificate<'_>) -> bool {
    by.is_ca()
        && of.issuer().as_raw() == by.subject().as_raw()
        && of.verify_signature(Some(by.public_key())).is_ok()
}

fn same(one: &X509Certificate<'_>, other: &X509Certificate<'_>) -> bool {
    one.tbs_certificate.as_ref() == other.tbs_certificate.as_ref()
}

/// Returns the public key, as certificates hold it, that belongs to a private key in a PEM text.
pub(super) fn public_key(text: &str) -> Result<Vec<u8>, String> {
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| format!("no private key: {error:?}"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| error.to_string())?;
    let public = key.public_key().ok_or_else(|| "its public key cannot be told".to_owned())?;
    Ok(public.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    fn authority(name: &str) -> (Issuer<'static, KeyPair>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        (Issuer::new(params, key), der)
    }

    #[test]
    fn a_chain_is_of_signatures_and_not_of_names() {
        let ((right, right_der), (_, wrong_der)) = (authority("ca"), authority("ca"));
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let own = params.signed_by(&key, &right).unwrap().der().to_vec();
        let (own, right, wrong) =
            (parse(&own).unwrap(), parse(&right_der).unwrap(), parse(&wrong_der).unwrap());
        assert!(leads(&own, &[], std::slice::from_ref(&right)).is_ok());
        assert!(leads(&own, &[], std::slice::from_ref(&wrong)).unwrap_err().contains("another key"));
        assert_eq!(public_key(&key.serialize_pem()).unwrap(), own.tbs_certificate.subject_pki.raw);
        let other = KeyPair::generate().unwrap();
        assert_ne!(public_key(&other.serialize_pem()).unwrap(), own.tbs_certificate.subject_pki.raw);
    }
}

//! Authorities beside the cluster's own: those of etcd and of the aggregation layer, with what they sign.

use std::net::IpAddr;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

use super::{Credentials, PkiError, YEAR, issue, name, valid};

/// An authority with its key.
pub(in crate::sim) struct Authority {
    /// Its certificate and key.
    pub credentials: Credentials,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Purpose {
    /// A client's.
    Client,
    /// A server's.
    Server,
    /// Both, as between members of etcd.
    Both,
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Errors
    /// [`PkiError::Certificate`].
    pub fn generate(common_name: &str, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.subject_alt_names = vec![SanType::DnsName(common_name.try_into()?)];
        valid(&mut params, now, YEAR * 10);
        let certificate = params.self_signed(&key)?.pem();
        let credentials = Credentials { certificate: certificate.clone(), key: key.serialize_pem() };
        Ok(Self { credentials, issuer: Issuer::from_ca_cert_pem(&certificate, key)? })
    }

    /// Signs a certificate for a name, with the hosts and addresses that it is to be good for.
    ///
    /// # Errors
    /// [`PkiError::Certificate`].
    pub fn sign(
        &self,
        common_name: &str,
        purpose: Purpose,
        hosts: &[&str],
        addresses: &[IpAddr],
        now: Timestamp,
    ) -> Result<Credentials, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name, &[]);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        if purpose != Purpose::Client {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if purpose != Purpose::Server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.use_authority_key_identifier_extension = true;
        for host in hosts {
            params.subject_alt_names.push(SanType::DnsName((*host).try_into()?));
        }
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        valid(&mut params, now, YEAR);
        issue(&self.issuer, &params)
    }
}

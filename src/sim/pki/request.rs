//! Certificate signing requests (PKCS #10): what they ask for, and the certificate that answers one.
//! Subjects are written anew in the order of crypto/x509; every organization in them stays a group.

use jiff::{SignedDuration, Timestamp};
use rcgen::SigningKey as _;
use ring::digest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::{Pki, PkiError, der};
use crate::sim::random;

/// What a signing request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningRequest {
    /// The common name of the subject.
    pub common_name: String,
    /// The organizations of the subject, in their order.
    pub organizations: Vec<String>,
    /// The DNS names asked for.
    pub dns_names: Vec<String>,
    /// The IP addresses asked for.
    pub addresses: Vec<std::net::IpAddr>,
    /// The mail addresses asked for.
    pub emails: Vec<String>,
    /// The URIs asked for.
    pub uris: Vec<String>,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    alternatives: Option<Vec<u8>>,
}

impl SigningRequest {
    /// Reads a PEM block of type `CERTIFICATE REQUEST`, and checks that its sender has the key.
    ///
    /// # Errors
    /// [`PkiError::Request`] with why it is none.
    pub fn parse(pem: &[u8]) -> Result<Self, PkiError> {
        let refuse = |why: String| PkiError::Request(why);
        let (_, block) = x509_parser::pem::parse_x509_pem(pem)
            .map_err(|_| refuse("PEM block type must be CERTIFICATE REQUEST".to_owned()))?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(refuse("PEM block type must be CERTIFICATE REQUEST".to_owned()));
        }
        let (_, parsed) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| refuse(format!("asn1: structure error: {error}")))?;
        parsed.verify_signature().map_err(|_| refuse("x509: signature verification failed".to_owned()))?;
        let info = &parsed.certification_request_info;
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().unwrap_or_default().to_owned()
        };
        let mut request = Self {
            // The last one counts, as for crypto/x509.
            common_name: info.subject.iter_common_name().last().map(text).unwrap_or_default(),
            organizations: info.subject.iter_organization().map(text).collect(),
            subject: subject(&info.subject),
            public_key: info.subject_pki.raw.to_vec(),
            ..Self::default()
        };
        for attribute in info.iter_attributes() {
            let x509_parser::cri_attributes::ParsedCriAttribute::ExtensionRequest(wanted) =
                attribute.parsed_attribute()
            else {
                continue;
            };
            for extension in &wanted.extensions {
                let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
                    continue;
                };
                request.alternatives = Some(extension.value.to_vec());
                for name in &names.general_names {
                    request.add(name);
                }
            }
        }
        Ok(request)
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                    self.addresses.push(v4.into());
                } else if let Ok(v6) = <[u8; 16]>::try_from(*bytes) {
                    self.addresses.push(v6.into());
                }
            }
            _ => {}
        }
    }
}

impl Pki {
    /// Signs a request for the given usages (`client auth`, `digital signature`, ...) and returns the certificate as PEM.
    ///
    /// # Errors
    /// [`PkiError::Request`] for an unknown usage.
    pub fn sign(
        &self,
        request: &SigningRequest,
        usages: &[&str],
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<String, PkiError> {
        let authority = der(self.authority_pem()).ok_or(PkiError::Missing("ca.crt"))?;
        let (_, authority) =
            x509_parser::parse_x509_certificate(&authority).map_err(|_| PkiError::Missing("ca.crt"))?;
        let mut serial = random::bytes::<16>();
        serial[0] &= 0x7F;
        serial[0] |= 0x40;
        let algorithm = sequence(&[tlv(0x06, &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02])]);
        let validity = sequence(&[
            time(now - SignedDuration::from_mins(5)),
            time((now + lifetime).min(end_of(&authority))),
        ]);
        let key_id = digest::digest(&digest::SHA256, &authority.public_key().subject_public_key.data);
        let authority_id = authority
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
            .unwrap_or_else(|| key_id.as_ref()[..20].to_vec());
        let mut extensions = Vec::new();
        let (bits, purposes) = encode_usages(usages)?;
        if let Some(bits) = bits {
            extensions.push(extension(&[0x55, 0x1D, 0x0F], true, &bits));
        }
        if !purposes.is_empty() {
            extensions.push(extension(&[0x55, 0x1D, 0x25], false, &sequence(&purposes)));
        }
        extensions.push(extension(&[0x55, 0x1D, 0x13], true, &sequence(&[])));
        extensions.push(extension(&[0x55, 0x1D, 0x23], false, &sequence(&[tlv(0x80, &authority_id)])));
        if let Some(alternatives) = &request.alternatives {
            extensions.push(extension(&[0x55, 0x1D, 0x11], false, alternatives));
        }
        let body = sequence(&[
            tlv(0xA0, &tlv(0x02, &[2])),
            tlv(0x02, &serial),
            algorithm.clone(),
            authority.subject().as_raw().to_vec(),
            validity,
            request.subject.clone(),
            request.public_key.clone(),
            tlv(0xA3, &sequence(&extensions)),
        ]);
        let signature = self.authority().key().sign(&body)?;
        let certificate = sequence(&[body, algorithm, tlv(0x03, &[&[0], signature.as_slice()].concat())]);
        Ok(pem("CERTIFICATE", &certificate))
    }
}

/// Writes a subject as crypto/x509 does: known attributes alone, in its order, those of one type together.
fn subject(name: &x509_parser::x509::X509Name<'_>) -> Vec<u8> {
    // Country, organization, unit, locality, province, street, postal code, common name, serial number.
    const ORDER: [u8; 9] = [6, 10, 11, 7, 8, 9, 17, 3, 5];
    let mut parts = Vec::new();
    for attribute in ORDER {
        let oid = [0x55, 0x04, attribute];
        let mut values: Vec<Vec<u8>> = name
            .iter_attributes()
            .filter(|found| found.attr_type().as_bytes() == oid)
            .map(|found| {
                let text = found.as_str().unwrap_or_default();
                let printable = |c: u8| c.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&c);
                let tag = if text.bytes().all(printable) { 0x13 } else { 0x0C };
                sequence(&[tlv(0x06, &oid), tlv(tag, text.as_bytes())])
            })
            .collect();
        // Of these two there is but one, and the last counts.
        if matches!(attribute, 3 | 5) {
            values = values.split_off(values.len().saturating_sub(1));
        }
        if !values.is_empty() {
            values.sort();
            parts.push(tlv(0x31, &values.concat()));
        }
    }
    sequence(&parts)
}

fn end_of(authority: &x509_parser::certificate::X509Certificate<'_>) -> Timestamp {
    Timestamp::from_second(authority.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX)
}

type EncodedUsages = (Option<Vec<u8>>, Vec<Vec<u8>>);

/// Returns the KeyUsage bits, where there are any, and the extended purposes.
fn encode_usages(usages: &[&str]) -> Result<EncodedUsages, PkiError> {
    let mut bits = 0u16;
    let mut purposes = Vec::new();
    let pkix = |last: u8| tlv(0x06, &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, last]);
    for usage in usages {
        match *usage {
            "signing" | "digital signature" => bits |= 1 << 15,
            "content commitment" => bits |= 1 << 14,
            "key encipherment" => bits |= 1 << 13,
            "data encipherment" => bits |= 1 << 12,
            "key agreement" => bits |= 1 << 11,
            "cert sign" => bits |= 1 << 10,
            "crl sign" => bits |= 1 << 9,
            "encipher only" => bits |= 1 << 8,
            "decipher only" => bits |= 1 << 7,
            "any" => purposes.push(tlv(0x06, &[0x55, 0x1D, 0x25, 0x00])),
            "server auth" => purposes.push(pkix(1)),
            "client auth" => purposes.push(pkix(2)),
            "code signing" => purposes.push(pkix(3)),
            "email protection" | "s/mime" => purposes.push(pkix(4)),
            "ipsec end system" => purposes.push(pkix(5)),
            "ipsec tunnel" => purposes.push(pkix(6)),
            "ipsec user" => purposes.push(pkix(7)),
            "timestamping" => purposes.push(pkix(8)),
            "ocsp signing" => purposes.push(pkix(9)),
            "microsoft sgc" => purposes.push(tlv(0x06, &[0x2B, 6, 1, 4, 1, 0x82, 0x37, 0x0A, 3, 3])),
            "netscape sgc" => purposes.push(tlv(0x06, &[0x60, 0x86, 0x48, 1, 0x86, 0xF8, 0x42, 4, 1])),
            other => return Err(PkiError::Request(format!("unrecognized usage values: [{other:?}]"))),
        }
    }
    if bits == 0 {
        return Ok((None, purposes));
    }
    let unused = bits.trailing_zeros().min(15);
    let [high, low] = bits.to_be_bytes();
    let content = if unused >= 8 { vec![(unused - 8) as u8, high] } else { vec![unused as u8, high, low] };
    Ok((Some(tlv(0x03, &content)), purposes))
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![tlv(0x06, oid)];
    if critical {
        parts.push(tlv(0x01, &[0xFF]));
    }
    parts.push(tlv(0x04, value));
    sequence(&parts)
}

fn time(at: Timestamp) -> Vec<u8> {
    // UTCTime has two digits of the year and ends with 2049.
    let text = at.strftime("%Y%m%d%H%M%SZ").to_string();
    if text.as_str() < "2050" { tlv(0x17, &text.as_bytes()[2..]) } else { tlv(0x18, text.as_bytes()) }
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = content.len();
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let bytes = len.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
    out
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn request() -> String {
        let mut params =
            CertificateParams::new(vec!["pod.example".to_owned(), "10.0.0.7".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        // The certificate has them the other way round.
        params.distinguished_name.push(DnType::CommonName, "jane");
        params.distinguished_name.push(DnType::OrganizationName, "dev");
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_signed_request_is_a_certificate_of_the_authority() {
        let pki = Pki::generate(&[], now()).unwrap();
        let request = SigningRequest::parse(request().as_bytes()).unwrap();
        assert_eq!(
            (request.common_name.as_str(), request.organizations.as_slice()),
            ("jane", &["dev".to_owned()][..])
        );
        assert_eq!(request.dns_names, ["pod.example"]);
        let usages = ["digital signature", "key encipherment", "client auth"];
        let pem = pki.sign(&request, &usages, now(), SignedDuration::from_hours(1)).unwrap();
        let certificate = der(&pem).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&certificate).unwrap();
        let authority = pki.authority_der();
        let (_, authority) = x509_parser::parse_x509_certificate(&authority).unwrap();
        certificate.verify_signature(Some(authority.public_key())).unwrap();
        assert_eq!(certificate.subject().to_string(), "O=dev, CN=jane");
        assert_eq!(certificate.issuer(), authority.subject());
        assert_eq!(certificate.validity().not_after.timestamp(), now().as_second() + 3600);
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth);
        assert!(!certificate.is_ca());
        assert_eq!(certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 2);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let damaged = request().replace("BEGIN CERTIFICATE REQUEST", "BEGIN CERTIFICATE");
        assert!(SigningRequest::parse(damaged.as_bytes()).is_err());
        assert!(SigningRequest::parse(b"nothing").is_err());
        let pki = Pki::generate(&[], now()).unwrap();
        let request = SigningRequest::parse(request().as_bytes()).unwrap();
        let error = pki.sign(&request, &["fly"], now(), SignedDuration::from_hours(1)).unwrap_err();
        assert_eq!(error.to_string(), "unrecognized usage values: [\"fly\"]");
    }

    #[test]
    fn no_certificate_outlives_the_authority() {
        let pki = Pki::generate(&[], now()).unwrap();
        let request = SigningRequest::parse(request().as_bytes()).unwrap();
        let pem =
            pki.sign(&request, &["client auth"], now(), SignedDuration::from_hours(24 * 365 * 30)).unwrap();
        let certificate = der(&pem).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&certificate).unwrap();
        let authority = pki.authority_der();
        let (_, authority) = x509_parser::parse_x509_certificate(&authority).unwrap();
        assert_eq!(certificate.validity().not_after.timestamp(), authority.validity().not_after.timestamp());
    }
}
